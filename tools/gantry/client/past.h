// Reads as they would have been answered at a moment of the past.
#pragma once

#include "tools/gantry/client/history.h"

namespace gantry::client {

/// What the events up to a moment leave.
struct PastState {
  std::vector<model::Object> objects;  // by namespace and name
  size_t unknown = 0;                  // were there, but what they were like is older than the history
};
/// `now`: the objects as they are today; one without any event is as it was. Pure.
PastState state_at(const History& history, const std::vector<model::Object>& now, WallMicros at);

/// Answers a Get or a List with a label or field selector as at `at`, as JSON or as a Table. kBadRequest: the history
/// does not reach so far. Objects whose state is not known are told of on stderr.
Result<nlohmann::json> ask_past(Gateway& gateway, const bus::Command& command, WallMicros at);

}  // namespace gantry::client
