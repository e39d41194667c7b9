// The graceful end of the machine: pods end in the order of their priority, each group in its own time, and say why.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "services/nodeagent/agent/agent.h"

namespace gantry::nodeagent {

/// Pods of this priority and above (up to the next step's) get this long.
struct ShutdownStep {
  int32_t priority = 0;
  int64_t seconds = 0;
  bool operator==(const ShutdownStep&) const = default;
};

/// `by_priority`: "0=60,10000=30,...", instead of the other two: the whole time, and how much of it is for critical
/// pods (system-cluster-critical and above), which end last. Ordered by priority; empty: no graceful shutdown. kInvalid
/// says what is wrong.
Result<std::vector<ShutdownStep>> shutdown_steps(int64_t grace_seconds, int64_t critical_seconds,
                                                 const std::string& by_priority);

/// Loop's thread only; what is passed by reference outlives it.
class NodeShutdown {
 public:
  NodeShutdown(Loop& loop, Agent& agent, std::vector<ShutdownStep> steps)
      : loop_(loop), agent_(agent), steps_(std::move(steps)) {}

  /// Ends every pod and takes none any more. `done` comes once, when the last has ended or its time is over; a second
  /// call waits for the same end.
  void begin(std::function<void()> done);
  bool under_way() const { return step_.has_value(); }
  int64_t seconds() const;

 private:
  void next();
  void check();
  bool in_step(const PodWorker& pod) const;

  Loop& loop_;
  Agent& agent_;
  std::vector<ShutdownStep> steps_;
  std::optional<size_t> step_;
  Duration until_{};
  std::vector<std::function<void()>> done_;
  Timer look_;
};

}  // namespace gantry::nodeagent
