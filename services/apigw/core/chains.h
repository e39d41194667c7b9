// Snapshot and Replay: how a subscriber of the bus starts and repairs one chain (all of a resource, what is on a node,
// what is in a namespace).
#pragma once

#include "services/apigw/core/api.h"
#include "services/apigw/core/reads.h"

namespace gantry::apigw {

/// The objects of the command's chain as of the mirror's revision, and the chain's head. Answers above command.limit or
/// a few MB come in pages: continue_token goes back as it came, and only the first page's head counts. A Secret comes
/// with its metadata only. kExpired when the pages took too long: start again.
Result<Answer> snapshot(const World& world, const Mirror& mirror, const bus::Command& command);

/// After which revision a Replay reads the log: command.revision, or where the page before has ended.
Result<uint64_t> replay_from(const bus::Command& command);
/// The events of the command's chain out of `entries`, the log after `from`, and the chain's head. With a
/// continue_token there may be more.
Answer replay(const Mirror& mirror, const bus::Command& command, const std::vector<state::LogEntry>& entries);

/// How many log entries one Replay looks at.
inline constexpr size_t kReplayEntries = 2000;

}  // namespace gantry::apigw
