#include "libs/bus/feed_rules.h"

#include "libs/base/ids.h"

namespace gantry::bus {
namespace {

/// "_" is the partition of what has no node, or the place of a namespace in the subject of what has none.
std::string token(std::string_view part) { return part == "_" ? "_" : encode_token(part); }

}  // namespace

std::string Chain::subject() const {
  auto r = encode_token(resource);
  if (!node.empty()) return fmt::format("gantry.events.{}.{}.>", r, token(node));
  if (!ns.empty()) return fmt::format("gantry.events.{}.*.{}.>", r, token(ns));
  return fmt::format("gantry.events.{}.>", r);
}

std::string Chain::head_subject() const {
  auto r = encode_token(resource);
  if (!node.empty()) return fmt::format("gantry.heads.{}.node.{}", r, token(node));
  if (!ns.empty()) return fmt::format("gantry.heads.{}.namespace.{}", r, token(ns));
  return fmt::format("gantry.heads.{}.all", r);
}

std::string event_subject(std::string_view resource, std::string_view node, std::string_view ns,
                          std::string_view name) {
  return fmt::format("gantry.events.{}.{}.{}.{}", encode_token(resource), encode_token(node), encode_token(ns),
                     encode_token(name));
}

const Event* verified_event(std::string_view bytes) {
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  return verifier.VerifyBuffer<Event>(nullptr) ? flatbuffers::GetRoot<Event>(bytes.data()) : nullptr;
}

bool in_chain(const Chain& chain, const Event& event) {
  if (event.resource() == nullptr || event.resource()->string_view() != chain.resource) return false;
  if (!chain.node.empty()) return true;  // by its subject, or by the gateway's choice in a replay
  return event.type() == EventType::Put || event.type() == EventType::Delete;
}

uint64_t previous_in(const Chain& chain, const Event& event) {
  if (!chain.node.empty()) return event.previous_in_node();
  if (!chain.ns.empty()) return event.previous_in_namespace();
  return event.previous();
}

Verdict judge(const Chain& chain, const Event& event, uint64_t seen) {
  if (event.revision() <= seen) return Verdict::kSeen;
  // Who has seen nothing holds nothing that a failover could have taken back.
  if (seen != 0 && revision_epoch(event.revision()) > revision_epoch(seen)) return Verdict::kNewEpoch;
  return previous_in(chain, event) <= seen ? Verdict::kNext : Verdict::kGap;
}

}  // namespace gantry::bus
