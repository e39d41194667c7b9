#include "services/apigw/commands/commands.h"

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "services/apigw/core/mirror.h"
#include "services/apigw/render/render.h"

namespace gantry::apigw {
namespace {

std::string whoami_json(const Identity& identity) {
  return nlohmann::json{{"username", identity.user}, {"groups", identity.groups}}.dump();
}

}  // namespace

bus::CommandOutcome outcome_of(const bus::Command& command, Answer answer, WallMicros now) {
  bus::CommandOutcome outcome;
  // On the bus a kind that never had an object is at 0, as its chains are: who waits for a revision must find it there.
  outcome.revision = answer.revision == Mirror::kNever ? 0 : answer.revision;
  outcome.head = answer.head;
  outcome.continue_token = std::move(answer.continue_token);
  outcome.warnings = std::move(answer.warnings);
  outcome.events = std::move(answer.events);
  outcome.duplicate = answer.duplicate;
  const Form form = command.as_table ? Form::kTable : Form::kPlain;
  const bool text = command.as_json || command.as_table;
  switch (answer.outcome) {
    case Answer::Outcome::kObject:
    case Answer::Outcome::kCreated:
    case Answer::Outcome::kDeleted:
      if (!answer.object) break;
      outcome.uid = answer.object.uid();
      if (text) {
        outcome.json = object_json(answer.object, form, RowObject::kMetadata, now);
      } else {
        outcome.object = answer.object.bytes();
      }
      break;
    case Answer::Outcome::kList:
      if (text) {
        const ListMeta meta{answer.revision, outcome.continue_token, answer.remaining};
        outcome.json = list_json(*answer.kind, answer.items, meta, form, RowObject::kMetadata, now);
        break;
      }
      [[fallthrough]];
    case Answer::Outcome::kChain:
      outcome.items.reserve(answer.items.size());
      for (const auto& item : answer.items) outcome.items.push_back({item.revision(), item.bytes()});
      break;
    case Answer::Outcome::kNothing:
      break;
  }
  return outcome;
}

bus::CommandHandler command_handler(Loop& loop, Api& api) {
  return [&loop, &api](const std::string& name, const bus::Command& command, bus::Respond respond) {
    const Identity identity = identity_of_bus(name);
    if (command.verb == bus::Verb::Whoami) {
      bus::CommandOutcome outcome;
      outcome.json = whoami_json(identity);
      return respond(std::move(outcome));
    }
    // `command` stays valid until respond() was called.
    api.handle(identity, command, [&loop, &command, respond = std::move(respond)](Result<Answer> answer) {
      if (!answer.ok()) return respond(std::move(answer.error()));
      respond(outcome_of(command, std::move(*answer), loop.wall()));
    });
  };
}

}  // namespace gantry::apigw
