// Tasks that containerd's CRI has forgotten: of containers that it calls ended.
#pragma once

#include <functional>
#include <set>
#include <string>

#include "github.com/containerd/containerd/api/services/tasks/v1/tasks.grpc.pb.h"
#include "services/nodeagent/cri/grpc_calls.h"

namespace gantry::nodeagent {

/// A StartContainer that is given up midway, because its caller has died, can leave a task behind that CRI knows
/// nothing of: the process may run, and neither the container nor its sandbox can be removed ("cannot delete running
/// task"). CRI takes a task away before it calls the container ended, so one that is there all the same is forgotten.
/// Loop's thread only; what is passed by reference outlives it.
class ForgottenTasks {
 public:
  ForgottenTasks(GrpcCalls& calls, containerd::services::tasks::v1::Tasks::Stub& tasks)
      : calls_(calls), tasks_(tasks) {}

  /// Whether containerd has a task of this container or sandbox.
  void find(const std::string& id, std::function<void(Result<bool>)> done);
  /// Kills it, waits for its end and takes it away; `done` whatever came of that. One that is being ended already is
  /// left to that.
  void end(const std::string& id, std::function<void()> done);

 private:
  GrpcCalls& calls_;
  containerd::services::tasks::v1::Tasks::Stub& tasks_;
  std::set<std::string> ending_;
  std::map<std::string, Timer> retries_;
};

}  // namespace gantry::nodeagent
