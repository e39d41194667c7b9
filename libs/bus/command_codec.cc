// Command and CommandOutcome to and from FlatBuffers (schemas/command.fbs). What comes in is verified first.
#include <flatbuffers/flatbuffers.h>

#include "libs/bus/command.h"
#include "schemas/bus_generated.h"

namespace gantry::bus {
namespace {

using flatbuffers::FlatBufferBuilder;
using flatbuffers::Offset;

constexpr size_t kMaxBatch = 10'000;  // commands in one message; clients send far fewer

using Text = Offset<flatbuffers::String>;
using Blob = Offset<flatbuffers::Vector<uint8_t>>;

Text text(FlatBufferBuilder& b, std::string_view s) { return s.empty() ? Text() : b.CreateString(s.data(), s.size()); }
Blob blob(FlatBufferBuilder& b, std::string_view s) {
  return s.empty() ? Blob() : b.CreateVector(reinterpret_cast<const uint8_t*>(s.data()), s.size());
}
std::string str(const flatbuffers::String* s) { return s == nullptr ? std::string() : s->str(); }
std::string str(const flatbuffers::Vector<uint8_t>* v) {
  return v == nullptr ? std::string() : std::string(reinterpret_cast<const char*>(v->data()), v->size());
}
std::string take(FlatBufferBuilder& b) { return {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()}; }

template <typename T>
const T* verified(std::string_view bytes) {
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  return verifier.VerifyBuffer<T>(nullptr) ? flatbuffers::GetRoot<T>(bytes.data()) : nullptr;
}

Offset<CommandEntry> encode(FlatBufferBuilder& b, const Command& c) {
  auto id = text(b, c.id), resource = text(b, c.resource), subresource = text(b, c.subresource), ns = text(b, c.ns),
       name = text(b, c.name), json = text(b, c.json), uid = text(b, c.uid), owner = text(b, c.absent_owner_uid),
       propagation = text(b, c.propagation), manager = text(b, c.field_manager),
       validation = text(b, c.field_validation), node = text(b, c.node), labels = text(b, c.label_selector),
       fields = text(b, c.field_selector), token = text(b, c.continue_token), because = text(b, c.because);
  auto object = blob(b, c.object);
  Offset<LeaseGuard> lease;
  if (!c.lease.empty()) {
    auto lease_name = text(b, c.lease);
    lease = CreateLeaseGuard(b, lease_name, c.lease_epoch);
  }
  Offset<Sequence> sequence;
  if (c.sequence_epoch != 0 || c.sequence_number != 0) {
    sequence = CreateSequence(b, c.sequence_epoch, c.sequence_number);
  }
  CommandEntryBuilder e(b);
  e.add_id(id);
  e.add_verb(c.verb);
  e.add_resource(resource);
  e.add_subresource(subresource);
  e.add_namespace_(ns);
  e.add_name(name);
  e.add_object(object);
  e.add_json(json);
  e.add_patch_type(c.patch_type);
  e.add_uid(uid);
  e.add_revision(c.revision);
  e.add_absent_owner_uid(owner);
  e.add_lease(lease);
  e.add_sequence(sequence);
  if (c.grace_period_seconds) e.add_grace_period_seconds(*c.grace_period_seconds);
  e.add_propagation(propagation);
  e.add_dry_run(c.dry_run);
  e.add_field_manager(manager);
  e.add_field_validation(validation);
  e.add_force(c.force);
  e.add_node(node);
  e.add_label_selector(labels);
  e.add_field_selector(fields);
  e.add_limit(c.limit);
  e.add_continue_token(token);
  e.add_as_json(c.as_json);
  e.add_as_table(c.as_table);
  e.add_because(because);
  return e.Finish();
}

Command decode(const CommandEntry& e) {
  Command c;
  c.id = str(e.id());
  c.verb = e.verb();
  c.resource = str(e.resource());
  c.subresource = str(e.subresource());
  c.ns = str(e.namespace_());
  c.name = str(e.name());
  c.object = str(e.object());
  c.json = str(e.json());
  c.patch_type = e.patch_type();
  c.uid = str(e.uid());
  c.revision = e.revision();
  c.absent_owner_uid = str(e.absent_owner_uid());
  if (e.lease() != nullptr) {
    c.lease = str(e.lease()->name());
    c.lease_epoch = e.lease()->epoch();
  }
  if (e.sequence() != nullptr) {
    c.sequence_epoch = e.sequence()->epoch();
    c.sequence_number = e.sequence()->number();
  }
  if (auto grace = e.grace_period_seconds()) c.grace_period_seconds = *grace;
  c.propagation = str(e.propagation());
  c.dry_run = e.dry_run();
  c.field_manager = str(e.field_manager());
  c.field_validation = str(e.field_validation());
  c.force = e.force();
  c.node = str(e.node());
  c.label_selector = str(e.label_selector());
  c.field_selector = str(e.field_selector());
  c.limit = e.limit();
  c.continue_token = str(e.continue_token());
  c.as_json = e.as_json();
  c.as_table = e.as_table();
  c.because = str(e.because());
  return c;
}

Offset<Failure> encode(FlatBufferBuilder& b, const Error& error) {
  std::vector<Offset<FieldCause>> causes;
  for (const auto& cause : error.causes) {
    auto cause_reason = text(b, cause.reason), message = text(b, cause.message), field = text(b, cause.field);
    causes.push_back(CreateFieldCause(b, cause_reason, message, field));
  }
  auto why = text(b, reason(error.code)), message = text(b, error.message), group = text(b, error.group),
       kind = text(b, error.kind), name = text(b, error.name), uid = text(b, error.uid);
  Offset<flatbuffers::Vector<Offset<FieldCause>>> list;
  if (!causes.empty()) list = b.CreateVector(causes);
  return CreateFailure(b, static_cast<uint8_t>(error.code), why, message, list, group, kind, name, uid,
                       error.current_revision, error.retry_after_seconds);
}

Error decode(const Failure& f) {
  Error error;
  auto code = static_cast<Code>(f.code());
  bool known = code > Code::kOk && code <= Code::kTooLargeRevision;
  error.code = known ? code : code_from_reason(str(f.reason()));  // a code of a newer gateway
  error.message = str(f.message());
  if (f.causes() != nullptr) {
    for (const auto* cause : *f.causes()) {
      error.causes.push_back({str(cause->reason()), str(cause->message()), str(cause->field())});
    }
  }
  error.group = str(f.group());
  error.kind = str(f.kind());
  error.name = str(f.name());
  error.uid = str(f.uid());
  error.current_revision = f.current_revision();
  error.retry_after_seconds = f.retry_after_seconds();
  return error;
}

Offset<CommandResult> encode(FlatBufferBuilder& b, const std::string& id, const Result<CommandOutcome>& result) {
  auto id_text = text(b, id);
  if (!result) {
    auto failure = encode(b, result.error());
    return CreateCommandResult(b, id_text, failure);
  }
  const auto& outcome = *result;
  std::vector<Offset<Item>> items;
  items.reserve(outcome.items.size());
  for (const auto& item : outcome.items) {
    auto object = blob(b, item.object);
    items.push_back(CreateItem(b, item.revision, object));
  }
  std::vector<Offset<EventBytes>> events;
  events.reserve(outcome.events.size());
  for (const auto& event : outcome.events) {
    auto bytes = blob(b, event);
    events.push_back(CreateEventBytes(b, bytes));
  }
  std::vector<Text> warnings;
  for (const auto& warning : outcome.warnings) warnings.push_back(b.CreateString(warning));
  auto uid = text(b, outcome.uid), json = text(b, outcome.json), token = text(b, outcome.continue_token);
  auto object = blob(b, outcome.object);
  Offset<flatbuffers::Vector<Offset<Item>>> item_list;
  if (!items.empty()) item_list = b.CreateVector(items);
  Offset<flatbuffers::Vector<Offset<EventBytes>>> event_list;
  if (!events.empty()) event_list = b.CreateVector(events);
  Offset<flatbuffers::Vector<Text>> warning_list;
  if (!warnings.empty()) warning_list = b.CreateVector(warnings);
  return CreateCommandResult(b, id_text, 0, outcome.revision, uid, object, json, item_list, token, event_list,
                             outcome.head, warning_list, outcome.duplicate);
}

Result<CommandOutcome> decode(const CommandResult& r) {
  if (r.failure() != nullptr) return decode(*r.failure());
  CommandOutcome outcome;
  outcome.revision = r.revision();
  outcome.uid = str(r.uid());
  outcome.object = str(r.object());
  outcome.json = str(r.json());
  if (r.items() != nullptr) {
    outcome.items.reserve(r.items()->size());
    for (const auto* item : *r.items()) outcome.items.push_back({item->revision(), str(item->object())});
  }
  outcome.continue_token = str(r.continue_token());
  if (r.events() != nullptr) {
    outcome.events.reserve(r.events()->size());
    for (const auto* entry : *r.events()) {
      auto bytes = str(entry->event());
      if (verified<Event>(bytes) == nullptr) return Error{Code::kInternal, "a malformed event in a replay"};
      outcome.events.push_back(std::move(bytes));
    }
  }
  outcome.head = r.head();
  if (r.warnings() != nullptr) {
    for (const auto* warning : *r.warnings()) outcome.warnings.push_back(str(warning));
  }
  outcome.duplicate = r.duplicate();
  return outcome;
}

}  // namespace

std::string encode_batch(const std::vector<const Command*>& commands, uint32_t deadline_millis) {
  FlatBufferBuilder b(1024);
  std::vector<Offset<CommandEntry>> entries;
  entries.reserve(commands.size());
  for (const auto* command : commands) entries.push_back(encode(b, *command));
  b.Finish(CreateCommandBatch(b, b.CreateVector(entries), deadline_millis));
  return take(b);
}

Result<std::vector<Command>> decode_batch(std::string_view bytes) {
  auto batch = decode_command_batch(bytes);
  if (!batch) return batch.error();
  return std::move(batch->commands);
}

Result<CommandBatchValue> decode_command_batch(std::string_view bytes) {
  const auto* batch = verified<CommandBatch>(bytes);
  if (batch == nullptr || batch->commands() == nullptr || batch->commands()->size() == 0) {
    return Error{Code::kBadRequest, "not a well-formed CommandBatch"};
  }
  if (batch->commands()->size() > kMaxBatch) {
    return Error{Code::kTooLarge, fmt::format("a batch holds at most {} commands", kMaxBatch)};
  }
  CommandBatchValue value;
  value.deadline_millis = batch->deadline_millis();
  value.commands.reserve(batch->commands()->size());
  for (const auto* entry : *batch->commands()) {
    if (entry->verb() < Verb::MIN || entry->verb() > Verb::MAX || entry->patch_type() < PatchType::MIN ||
        entry->patch_type() > PatchType::MAX) {
      return Error{Code::kBadRequest, "a command with an unknown verb or patch type"};
    }
    value.commands.push_back(decode(*entry));
  }
  return value;
}

std::string encode_reply(const std::vector<std::pair<std::string, Result<CommandOutcome>>>& results) {
  FlatBufferBuilder b(1024);
  std::vector<Offset<CommandResult>> entries;
  entries.reserve(results.size());
  for (const auto& [id, result] : results) entries.push_back(encode(b, id, result));
  b.Finish(CreateCommandReply(b, b.CreateVector(entries)));
  return take(b);
}

Result<std::vector<std::pair<std::string, Result<CommandOutcome>>>> decode_reply(std::string_view bytes) {
  const auto* reply = verified<CommandReply>(bytes);
  if (reply == nullptr || reply->results() == nullptr) {
    return Error{Code::kInternal, "not a well-formed CommandReply"};
  }
  std::vector<std::pair<std::string, Result<CommandOutcome>>> results;
  results.reserve(reply->results()->size());
  for (const auto* entry : *reply->results()) results.emplace_back(str(entry->id()), decode(*entry));
  return results;
}

std::string verb_token(Verb verb) {
  std::string token = EnumNameVerb(verb);
  std::transform(token.begin(), token.end(), token.begin(), [](unsigned char c) { return std::tolower(c); });
  return token;
}

bool changes_state(Verb verb) {
  switch (verb) {
    case Verb::Get:
    case Verb::List:
    case Verb::Snapshot:
    case Verb::Replay:
    case Verb::Whoami:
      return false;
    default:
      return true;
  }
}

}  // namespace gantry::bus
