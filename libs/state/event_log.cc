#include "libs/state/event_log.h"

#include <fmt/format.h>

#include <charconv>

#include "libs/base/ids.h"
#include "schemas/bus_generated.h"

namespace gantry::state {
namespace {

Error broken(std::string message) { return {.code = Code::kInternal, .message = std::move(message)}; }

bool take_number(std::string_view& text, char end, Revision* out) {
  auto [next, failed] = std::from_chars(text.data(), text.data() + text.size(), *out);
  if (failed != std::errc()) return false;
  text.remove_prefix(next - text.data());
  if (text.empty()) return end == ' ';
  if (text.front() != end) return false;
  text.remove_prefix(1);
  return true;
}

bool sound(std::string_view event) {
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(event.data()), event.size(), 16, 10'000);
  return verifier.VerifyBuffer<bus::Event>(nullptr);
}

std::string node_event(const bus::Event& base, Revision revision, const Chains::NodeEvent& on) {
  flatbuffers::FlatBufferBuilder builder(512);
  auto copy = [&](const flatbuffers::String* text) {
    return text == nullptr ? flatbuffers::Offset<flatbuffers::String>() : builder.CreateString(text);
  };
  auto resource = copy(base.resource()), ns = copy(base.namespace_()), name = copy(base.name()), uid = copy(base.uid());
  auto node = copy(base.node()), command_id = copy(base.command_id());
  auto old_node = on.left ? builder.CreateString(on.node) : copy(base.old_node());
  flatbuffers::Offset<bus::Cause> cause;
  if (const auto* from = base.cause()) {
    auto identity = copy(from->identity()), verb = copy(from->verb()), because = copy(from->because());
    cause = bus::CreateCause(builder, identity, verb, because);
  }
  bus::EventBuilder event(builder);
  event.add_type(on.left ? bus::EventType::Left : bus::EventType::Dependency);
  event.add_revision(revision);
  event.add_previous_in_node(on.previous);
  event.add_time(base.time());
  event.add_resource(resource);
  event.add_namespace_(ns);
  event.add_name(name);
  event.add_uid(uid);
  event.add_node(node);
  event.add_old_node(old_node);
  event.add_cause(cause);
  event.add_command_id(command_id);
  builder.Finish(event.Finish());
  return {reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()};
}

}  // namespace

std::string encode_chains(const Chains& chains) {
  std::string out = fmt::format("{} {} {}", chains.previous, chains.in_node, chains.in_namespace);
  for (const auto& event : chains.node_events) {
    out += fmt::format(" {}{}:{}", event.left ? 'L' : 'D', event.previous, encode_token(event.node));
  }
  return out;
}

Result<Chains> decode_chains(std::string_view text) {
  const std::string whole(text);
  Chains out;
  if (!take_number(text, ' ', &out.previous) || !take_number(text, ' ', &out.in_node) ||
      !take_number(text, ' ', &out.in_namespace)) {
    return broken("change log: chains unreadable: " + whole);
  }
  while (!text.empty()) {
    Chains::NodeEvent event{.left = text.front() == 'L'};
    if (!event.left && text.front() != 'D') return broken("change log: chains unreadable: " + whole);
    text.remove_prefix(1);
    if (!take_number(text, ':', &event.previous)) return broken("change log: chains unreadable: " + whole);
    auto token = text.substr(0, text.find(' '));
    auto node = decode_token(token);
    if (!node) return broken("change log: chains unreadable: " + whole);
    event.node = std::move(*node);
    out.node_events.push_back(std::move(event));
    text.remove_prefix(std::min(text.size(), token.size() + 1));
  }
  return out;
}

Status check_event(std::string_view bytes) {
  auto invalid = [](const char* what) { return Error{.code = Code::kInvalid, .message = what}; };
  if (!sound(bytes)) return invalid("commit: an operation's event is not a valid gantry.bus.Event");
  const auto* event = flatbuffers::GetRoot<bus::Event>(bytes.data());
  if (event->revision() == 0 || event->previous() == 0 || event->previous_in_node() == 0 ||
      event->previous_in_namespace() == 0) {
    return invalid("commit: an operation's event lacks the place holders for revision and previous*");
  }
  return Done{};
}

Result<LogEntry> make_log_entry(Revision revision, std::string bytes, const Chains& chains) {
  if (!sound(bytes)) return broken(fmt::format("change log: entry {} holds no valid event", revision));
  LogEntry out{.revision = revision, .event = std::move(bytes)};
  auto* event = flatbuffers::GetMutableRoot<bus::Event>(out.event.data());
  if (!event->mutate_revision(revision) || !event->mutate_previous(chains.previous) ||
      !event->mutate_previous_in_node(chains.in_node) || !event->mutate_previous_in_namespace(chains.in_namespace)) {
    return broken(fmt::format("change log: entry {} lacks its place holders", revision));
  }
  for (const auto& on : chains.node_events) out.node_events.emplace_back(on.node, node_event(*event, revision, on));
  return out;
}

std::string node_chain(std::string_view node) { return "node." + encode_token(node); }
std::string namespace_chain(std::string_view ns) { return "namespace." + encode_token(ns); }

}  // namespace gantry::state
