// A process in a running container, by containerd's Tasks service and FIFOs: unlike CRI's streaming server it can end
// stdin.
#pragma once

#include <uv.h>

#include <map>
#include <memory>
#include <string>

#include "github.com/containerd/containerd/api/services/containers/v1/containers.grpc.pb.h"
#include "github.com/containerd/containerd/api/services/tasks/v1/tasks.grpc.pb.h"
#include "libs/base/uv_loop.h"
#include "services/nodeagent/cri/grpc_calls.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

struct ExecServices {
  UvLoop& loop;
  GrpcCalls& calls;
  std::unique_ptr<containerd::services::tasks::v1::Tasks::Stub> tasks;
  std::unique_ptr<containerd::services::containers::v1::Containers::Stub> containers;
  std::string directory;                                      // where FIFOs are made, a folder for each exec
  std::map<std::string, std::function<void()>> running = {};  // by exec id: lets go of everything on the loop

  /// Before the loop goes: what gRPC still holds touches it no more.
  void shut_down() {
    for (auto& [_, let_go] : std::exchange(running, {})) let_go();
  }
};

/// Starts the process and calls `done` with its handle, or with why not. Loop's thread only; `services` outlives it.
void start_exec(ExecServices& services, const std::string& container_id, const ExecOptions& options,
                Process::Callbacks callbacks, Runtime::Done<std::unique_ptr<Process>> done);

}  // namespace gantry::nodeagent
