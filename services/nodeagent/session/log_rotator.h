// Keeps containers' logs within their limits: a log that has grown too large is renamed, the runtime opens a new one,
// and the oldest are removed. Loop's thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "services/nodeagent/agent/executor.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

struct LogLimits {
  uint64_t max_bytes = 10 << 20;  // of one file
  int max_files = 5;              // of a container, the current one included
  Duration period = std::chrono::seconds(10);
};

class LogRotator {
 public:
  struct Log {
    std::string container_id, path;  // of a running container
  };
  /// Everything passed by reference outlives it. `logs` is asked each period.
  LogRotator(Loop& loop, Executor& executor, Runtime& runtime, LogLimits limits,
             std::function<std::vector<Log>()> logs);

 private:
  void look();
  void reopen(const Log& log, const std::string& rotated);

  Loop& loop_;
  Executor& executor_;
  Runtime& runtime_;
  LogLimits limits_;
  std::function<std::vector<Log>()> logs_;
  bool busy_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Timer timer_;
};

}  // namespace gantry::nodeagent
