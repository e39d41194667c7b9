// The pods of one node: what the API wants of it beside what its runtime has.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "libs/projection/cache.h"
#include "services/nodeagent/agent/mirror_pods.h"
#include "services/nodeagent/agent/pod_worker.h"

namespace gantry::nodeagent {

struct AgentOptions {
  NodeContext node;
  bool disk = true;          // false: a hollow node
  bool dependencies = true;  // listen for changed ConfigMaps and Secrets
  /// Looks at every pod's containers again, should an event ever have been missed.
  Duration relist = std::chrono::minutes(1);
  size_t parallel_pulls = 5;  // images that are pulled at once; 0: no limit
};

/// A worker for each pod that is wanted or that runs. Nothing is decided before both the pods of this node and the
/// runtime's containers are known, so that a start adopts instead of killing; while the runtime is away nothing is
/// decided either. Loop's thread only; everything passed by reference outlives it.
class Agent {
 public:
  Agent(Loop& loop, bus::Commands& commands, Runtime& runtime, Executor& executor, ProbeTransport& probes,
        projection::Cache& pods, Sequence& sequence, AgentOptions options);
  ~Agent();

  /// Call once, after which the cache may change.
  void start(bus::Bus* bus);
  /// Events about pods go here.
  void on_record(
      std::function<void(const model::Object& pod, bool warning, const std::string& reason, const std::string& message)>
          record) {
    context_.record = std::move(record);
  }
  /// Volumes of CSI drivers; before start(). It outlives the Agent.
  void use_csi(CsiVolumes& csi) { context_.csi = &csi; }
  /// A driver came: pods that wait for a volume try again, and what an earlier run left staged goes.
  void on_driver();
  /// Asked once for each pod that is new here, before anything is done for it; a Termination ends it as Failed.
  void on_admit(std::function<std::optional<Termination>(const model::Object& pod)> admit) {
    admit_ = std::move(admit);
  }
  /// Asked when a running pod's resources change.
  void on_resize(std::function<std::optional<ResizeRefusal>(const model::Object& pod)> fits) {
    context_.fits = std::move(fits);
  }
  /// Told when the runtime comes and goes.
  void on_runtime(std::function<void(bool connected, const std::string& why)> changed) {
    runtime_changed_ = std::move(changed);
  }

  /// The worker of a pod by name; the wanted one where an old one of the same name still goes. Null when there is none.
  const PodWorker* find(std::string_view ns, std::string_view name) const;
  void for_each(const std::function<void(const PodWorker&)>& visit) const {
    for (const auto& [_, worker] : workers_) visit(*worker);
  }
  /// Ends a pod before its time (an eviction, the node's shutdown); nothing when there is none of that uid.
  void terminate(const std::string& uid, Termination why) {
    if (auto found = workers_.find(uid); found != workers_.end()) found->second->terminate(std::move(why));
  }
  /// From now on pods that have not begun fail for this reason.
  void refuse_pods(Termination why) { refusing_ = std::move(why); }
  /// Before start(): nothing is decided before set_static_pods().
  void expect_static_pods() { static_known_ = false; }
  /// Who owns the mirrors of static pods in the API; "" until it is known.
  void set_node_uid(std::string uid) { mirrors_.set_node(std::move(uid)); }
  /// What runs here without being asked for by the API; each time all of it.
  void set_static_pods(std::vector<model::Object> pods);
  bool synced() const { return synced_; }
  size_t size() const { return workers_.size(); }
  NodeContext& node() { return options_.node; }
  const StatusManager& statuses() const { return statuses_; }

 private:
  void on_connected();
  void on_listed(Result<std::vector<RuntimePod>> pods);
  void maybe_begin();
  void sweep();
  void sweep_pod(const std::string& uid);
  void apply(const model::Object& pod);
  void apply_gone(const model::Object& pod);
  PodWorker& worker(const std::string& uid, RuntimePod observed);
  void on_pod_change(const projection::Change& change);
  void apply_static();

  Loop& loop_;
  Runtime& runtime_;
  projection::Cache& pods_;
  AgentOptions options_;
  StatusManager statuses_;
  ReferenceStore references_;
  ServiceLinks services_;
  ImagePuller images_;
  ImageVolumes image_volumes_;
  WorkerContext context_;
  std::map<std::string, std::unique_ptr<PodWorker>> workers_;  // by uid
  std::map<std::string, RuntimePod> found_;                    // listed before the pods were known
  MirrorPods mirrors_;
  std::map<std::string, model::Object> static_;  // by uid
  bool static_known_ = true;
  std::optional<Termination> refusing_;
  bool listed_ = false, synced_ = false, listing_ = false;
  std::function<void(bool, const std::string&)> runtime_changed_;
  std::function<std::optional<Termination>(const model::Object&)> admit_;
  Timer relist_, retry_, sweep_again_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent
