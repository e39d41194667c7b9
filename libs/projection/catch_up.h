// Waits until caches have seen all that was committed before the call: what a new leader does before its first
// decision. Loop's thread only.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "libs/base/loop.h"
#include "libs/bus/command.h"
#include "libs/projection/cache.h"

namespace gantry::projection {

/// A catch-up under way; destroying it cancels.
class CatchUp {
 public:
  virtual ~CatchUp() = default;
};

/// Reads the head of each cache's resource through apigw, after the call, and calls `done` once every cache is synced
/// and covers it. Retries for as long as apigw does not answer. The caches are of whole resources and outlive the
/// handle; `done` never runs inside the call.
std::unique_ptr<CatchUp> catch_up(Loop& loop, bus::Commands& commands, std::vector<const Cache*> caches,
                                  std::function<void()> done);

}  // namespace gantry::projection
