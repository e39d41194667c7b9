// What containerd has of each pod, as CRI tells it: listings, filled in with the details that only each item's own
// status has.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "cri.grpc.pb.h"
#include "services/nodeagent/cri/forgotten_tasks.h"
#include "services/nodeagent/cri/grpc_calls.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

/// Details that cannot change any more are kept, so that looking again costs two calls. A container that CRI calls
/// ended counts as unknown, and is not replaced, while containerd has a task of it (see forgotten_tasks.h). Loop's
/// thread only; what is passed by reference outlives it.
class Observer {
 public:
  template <typename T>
  using Done = Runtime::Done<T>;
  Observer(Loop& loop, GrpcCalls& calls, runtime::v1::RuntimeService::Stub& stub,
           containerd::services::tasks::v1::Tasks::Stub& tasks)
      : loop_(loop), calls_(calls), stub_(stub), forgotten_(calls, tasks) {}

  void on_changed(std::function<void(const std::string& pod_uid)> changed) { changed_ = std::move(changed); }
  void list(Done<std::vector<RuntimePod>> done) { gather("", std::move(done)); }
  void observe(const std::string& pod_uid, Done<RuntimePod> done);

  /// containerd told that this container's (or sandbox's) process has ended. CRI's own view follows some milliseconds
  /// later: until it does, each observation is followed by another, a bounded number of times.
  void exited(const std::string& id);
  /// A sandbox or container that was just made.
  void owned(const std::string& id, const std::string& pod_uid) { pod_of_[id] = pod_uid; }
  void forget(const std::string& id);

 private:
  // What one listing collects while its detail calls are under way.
  struct Gather {
    bool all = false;
    std::map<std::string, RuntimePod> pods;
    size_t waiting = 0;
    std::optional<Error> error;
    Done<std::vector<RuntimePod>> done;
  };
  void gather(const std::string& uid, Done<std::vector<RuntimePod>> done);
  void gathered(const std::shared_ptr<Gather>& g);
  void add_sandboxes(const std::shared_ptr<Gather>& g, const runtime::v1::ListPodSandboxResponse& response);
  void add_containers(const std::shared_ptr<Gather>& g, const runtime::v1::ListContainersResponse& response);
  /// What CRI says about a container whose state is new here.
  void add_details(const std::shared_ptr<Gather>& g, const std::string& uid, Container container);
  /// CRI says that it has ended: `there` tells whether its task is there all the same. Such a task is ended, and the
  /// pod looked at again.
  void check_task(const std::shared_ptr<Gather>& g, const std::string& id, const std::string& uid,
                  std::function<void(bool there)> done);
  /// True while CRI still shows as alive what is known to have ended.
  bool lags(const std::string& id, bool alive);
  void recheck(const std::string& uid);
  void prune(const std::vector<RuntimePod>& pods);

  Loop& loop_;
  GrpcCalls& calls_;
  runtime::v1::RuntimeService::Stub& stub_;
  ForgottenTasks forgotten_;
  std::function<void(const std::string&)> changed_;
  std::map<std::string, std::string> pod_of_;            // container or sandbox id -> pod uid
  std::map<std::string, std::vector<std::string>> ips_;  // sandbox id -> addresses, which never change
  std::map<std::string, Container> settled_;   // running and exited containers: their details do not change any more
  std::map<std::string, int> expected_exits_;  // id -> rechecks left
  std::map<std::string, Timer> rechecks_;      // by pod uid
};

}  // namespace gantry::nodeagent
