// What an answer says about the attempts before it. Pure; any thread.
#pragma once

#include "libs/base/result.h"

namespace gantry::bus {

/// True for refusals of one attempt that was not looked into: nothing was done by it. An earlier attempt with the same
/// command id, of which no answer came, may have been carried out all the same: its outcome stays unknown.
inline bool refused_unseen(Code code) {
  return code == Code::kUnavailable || code == Code::kTimeout || code == Code::kTooManyRequests;
}

}  // namespace gantry::bus
