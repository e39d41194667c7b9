#include "libs/state/testing/commits.h"

#include "schemas/bus_generated.h"

namespace gantry::state::testing {

std::string make_event(const Key& key, std::string_view object, std::string_view node, bool deleted) {
  flatbuffers::FlatBufferBuilder builder;
  auto resource = builder.CreateString(key.resource), ns = builder.CreateString(key.ns),
       name = builder.CreateString(key.name);
  auto uid = builder.CreateString("uid-" + key.name), on = builder.CreateString(node.data(), node.size());
  auto bytes = builder.CreateVector(reinterpret_cast<const uint8_t*>(object.data()), object.size());
  bus::EventBuilder event(builder);
  event.add_type(deleted ? bus::EventType::Delete : bus::EventType::Put);
  event.add_revision(1);
  event.add_previous(1);
  event.add_previous_in_node(1);
  event.add_previous_in_namespace(1);
  event.add_resource(resource);
  event.add_namespace_(ns);
  event.add_name(name);
  event.add_uid(uid);
  event.add_node(on);
  event.add_object(bytes);
  builder.Finish(event.Finish());
  return {reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize()};
}

Operation put(Key key, std::string object, std::string node, std::string uid) {
  Operation out{.kind = Operation::Kind::kPut, .key = key};
  out.uid = uid.empty() ? "uid-" + key.name : uid;
  out.event = make_event(key, object, node);
  out.object = std::move(object);
  out.node = node;
  out.old_node = std::move(node);
  return out;
}

Operation erase(Key key, std::string last_state, std::string node, std::string uid) {
  Operation out{.kind = Operation::Kind::kDelete, .key = key};
  out.uid = uid.empty() ? "uid-" + key.name : uid;
  out.event = make_event(key, last_state, node, true);
  out.node = std::move(node);
  return out;
}

Operation claim(std::string text, std::string uid) {
  return {.kind = Operation::Kind::kClaim, .uid = std::move(uid), .text = std::move(text)};
}
Operation release(std::string text, std::string uid) {
  return {.kind = Operation::Kind::kRelease, .uid = std::move(uid), .text = std::move(text)};
}
Operation count(std::string text, int64_t delta) {
  return {.kind = Operation::Kind::kCount, .text = std::move(text), .delta = delta};
}
Operation raise_lease(std::string text, uint64_t epoch) {
  return {.kind = Operation::Kind::kLease, .text = std::move(text), .number = epoch};
}

Guard at_revision(Key key, Revision revision) {
  return {.kind = Guard::Kind::kRevision, .key = std::move(key), .number = revision};
}
Guard has_uid(Key key, std::string uid) {
  return {.kind = Guard::Kind::kUid, .key = std::move(key), .text = std::move(uid)};
}
Guard uid_absent(std::string uid) { return {.kind = Guard::Kind::kUidAbsent, .text = std::move(uid)}; }
Guard uid_present(std::string uid) { return {.kind = Guard::Kind::kUidPresent, .text = std::move(uid)}; }
Guard unclaimed(std::string text) { return {.kind = Guard::Kind::kClaimAbsent, .text = std::move(text)}; }
Guard within(std::string text, int64_t delta, uint64_t limit) {
  return {.kind = Guard::Kind::kCounter, .text = std::move(text), .number = limit, .delta = delta};
}
Guard lease(std::string text, uint64_t epoch) {
  return {.kind = Guard::Kind::kLease, .text = std::move(text), .number = epoch};
}
Guard sequence(std::string text, uint64_t epoch, uint64_t number) {
  return {.kind = Guard::Kind::kSequence, .text = std::move(text), .number = epoch, .number2 = number};
}

}  // namespace gantry::state::testing
