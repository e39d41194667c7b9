// The chain rule as pure functions: which events belong to a chain, and what one event means to who has seen a
// revision. Any thread.
#pragma once

#include "libs/bus/events.h"

namespace gantry::bus {

/// nullptr unless `bytes` is a well-formed Event.
const Event* verified_event(std::string_view bytes);

/// The store epoch in a revision (epoch * 2^40 + n).
constexpr uint64_t revision_epoch(uint64_t revision) { return revision >> 40; }

/// True if the event counts in the chain. Left and Dependency exist on node chains only.
bool in_chain(const Chain& chain, const Event& event);
/// The revision before the event's in the chain.
uint64_t previous_in(const Chain& chain, const Event& event);

enum class Verdict {
  kSeen,      // at or below what was seen: drop
  kNext,      // apply
  kGap,       // something between is missing: replay
  kNewEpoch,  // the store failed over or was restored: what was seen may not be true any more, take a snapshot
};
Verdict judge(const Chain& chain, const Event& event, uint64_t seen);

}  // namespace gantry::bus
