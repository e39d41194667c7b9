#include "tools/gantry/client/past.h"

#include <fmt/format.h>

#include <map>

#include "libs/model/json.h"
#include "libs/model/selector.h"
#include "services/apigw/render/render.h"
#include "tools/gantry/client/resources.h"

namespace gantry::client {
namespace {

using nlohmann::json;

std::string key_of(std::string_view ns, std::string_view name) { return fmt::format("{}/{}", ns, name); }

Result<std::vector<model::Object>> as_they_are(Gateway& gateway, const model::Kind& kind, const bus::Command& like) {
  bus::Command command;
  command.verb = like.verb;
  command.resource = like.resource;
  command.ns = like.ns;
  command.name = like.name;
  auto answer = gateway.send(std::move(command));
  std::vector<model::Object> objects;
  if (!answer && answer.code() == Code::kNotFound) return objects;
  if (!answer) return answer.error();
  if (!answer->object.empty()) answer->items.push_back({answer->revision, std::move(answer->object)});
  for (auto& item : answer->items) {
    if (model::verify(*kind.type, item.object)) objects.emplace_back(kind, std::move(item.object), item.revision);
  }
  return objects;
}

}  // namespace

PastState state_at(const History& history, const std::vector<model::Object>& now, WallMicros at) {
  struct Seen {
    const Step* last = nullptr;   // at the moment
    const Step* first = nullptr;  // after it
  };
  std::map<std::string, Seen> seen;
  for (const auto& step : history.steps) {
    Seen& of = seen[key_of(step.ns, step.name)];
    if (step.time <= at) {
      of.last = &step;
    } else if (of.first == nullptr) {
      of.first = &step;
    }
  }
  PastState state;
  std::map<std::string, model::Object> objects;
  for (const auto& [key, of] : seen) {
    if (of.last != nullptr) {
      if (!of.last->deleted && of.last->object) objects.emplace(key, of.last->object);
    } else if (!of.first->created) {
      ++state.unknown;
    }
  }
  for (const auto& object : now) {
    const std::string key = key_of(object.ns(), object.name());
    if (seen.find(key) == seen.end()) objects.emplace(key, object);
  }
  for (auto& [key, object] : objects) state.objects.push_back(std::move(object));
  return state;
}

Result<json> ask_past(Gateway& gateway, const bus::Command& command, WallMicros at) {
  const auto* kind = model::Schema::get().by_resource(command.resource);
  auto labels = model::LabelSelector::parse(command.label_selector);
  if (!labels) return labels.error();
  auto fields = model::FieldSelector::parse(*kind, command.field_selector);
  if (!fields) return fields.error();
  auto history = read_history(gateway, *kind, command.ns, command.name);
  if (!history) return history.error();
  if (at < history->since) {
    return Error{Code::kBadRequest, fmt::format("{} is before the event history, which reaches back to {}", clock(at),
                                                clock(history->since))};
  }
  auto now = as_they_are(gateway, *kind, command);
  if (!now) return now.error();
  auto state = state_at(*history, *now, at);
  if (state.unknown > 0) {
    fmt::print(stderr, "{} of {} {} not shown: changed last before the history begins ({})\n", state.unknown,
               kind->resource, state.unknown == 1 ? "is" : "are", clock(history->since));
  }
  std::vector<model::Object> chosen;
  for (auto& object : state.objects) {
    if (labels->matches(object.meta() == nullptr ? nullptr : object.meta()->labels()) && fields->matches(object))
      chosen.push_back(std::move(object));
  }
  using namespace apigw;
  if (!command.name.empty()) {
    if (chosen.empty()) {
      return Error{Code::kNotFound, fmt::format("{} \"{}\" not found at {}", kind->resource, command.name, clock(at))};
    }
    return json::parse(
        object_json(chosen[0], command.as_table ? Form::kTable : Form::kPlain, RowObject::kMetadata, at));
  }
  return json::parse(
      list_json(*kind, chosen, {}, command.as_table ? Form::kTable : Form::kPlain, RowObject::kMetadata, at));
}

}  // namespace gantry::client
