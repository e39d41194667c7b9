// One pod on this node: asks decide() after each change and carries out what it says. All judgement is in pod/; here is
// only the doing.
#pragma once

#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "libs/model/object.h"
#include "services/nodeagent/agent/executor.h"
#include "services/nodeagent/agent/pod_trace.h"
#include "services/nodeagent/agent/prober.h"
#include "services/nodeagent/agent/reference_store.h"
#include "services/nodeagent/agent/service_links.h"
#include "services/nodeagent/agent/static_pods.h"
#include "services/nodeagent/agent/status_manager.h"
#include "services/nodeagent/image/puller.h"
#include "services/nodeagent/pod/pod_machine.h"
#include "services/nodeagent/render/configs.h"
#include "services/nodeagent/volume/csi_volumes.h"
#include "services/nodeagent/volume/image_volumes.h"
#include "services/nodeagent/volume/setup.h"

namespace gantry::nodeagent {

/// A resize that must wait (until others go), or can never be.
struct ResizeRefusal {
  bool infeasible = false;
  std::string message;
};

/// What the workers of an agent share; outlives them.
struct WorkerContext {
  Loop& loop;
  Runtime& runtime;
  bus::Commands& commands;
  Executor& executor;
  ProbeTransport& probes;
  StatusManager& statuses;
  ReferenceStore& references;
  ServiceLinks& services;
  ImagePuller& images;
  NodeContext& node;
  /// An Event about a pod. `container`: adds its field path.
  std::function<void(const model::Object& pod, bool warning, const std::string& reason, const std::string& message)>
      record;
  /// Nothing is left of this pod: drop its worker.
  std::function<void(const std::string& uid)> finished;
  bool disk = true;  // false: hollow, nothing is written
  /// A node.PodTrace, once for each pod; may be empty.
  std::function<void(std::string trace)> traced = {};
  CsiVolumes* csi = nullptr;              // null: no CSI drivers here
  ImageVolumes* image_volumes = nullptr;  // null: hollow
  /// Why a running pod cannot have what its spec asks for now; empty: it always can.
  std::function<std::optional<ResizeRefusal>(const model::Object& pod)> fits = {};
};

/// Loop's thread only.
class PodWorker {
 public:
  PodWorker(WorkerContext& context, std::string uid, RuntimePod observed);
  ~PodWorker();

  /// The pod as the API has it now.
  void set_pod(model::Object pod);
  /// What the API shows for a static pod; empty: nothing (any more).
  void set_mirror(model::Object mirror);
  /// It is gone from the API.
  void set_gone();
  /// Something about it changed in the runtime.
  void observe();
  /// Ends it before its time, as Failed; only the first reason counts. Nothing happens to one that has ended.
  void terminate(Termination why);
  /// Something that volumes wait for may be there now.
  void retry_volumes();
  /// A ConfigMap, Secret or claim that it refers to changed.
  void reference_changed(const std::string& resource, const std::string& ns, const std::string& name);

  const std::string& uid() const { return uid_; }
  /// Its uid in the API, "" for a static pod that has no mirror.
  std::string_view api_uid() const { return static_pod() ? mirror_.uid() : std::string_view(uid_); }
  /// Nothing of it runs, and nothing will.
  bool ended() const;
  /// Nothing that it used is used any more.
  bool reclaimed() const { return ended() && (memory_.released || memory_.cleaned); }
  const model::Object& pod() const { return pod_; }
  const RuntimePod& observed() const { return observed_; }
  const PodStatusValue& status() const { return memory_.last; }
  /// How it came to be ready, so far: a node.PodTrace. Empty for what only the runtime knows.
  std::string trace() const { return pod_ ? trace_.encode(context_.node.node, *spec()) : std::string(); }
  bool refers_to(const std::string& resource, const std::string& name) const;

 private:
  friend class Launch;
  void wake();
  void decide();
  void act(const Action& action);
  /// Others write conditions too (Ready=False while the node was not heard of): once we speak again, our word counts.
  void correct_api();
  /// The action's outcome is in; it counts as under way until the runtime has been looked at again.
  void complete(const std::string& key);
  void on_observed(Result<RuntimePod> result, std::set<std::string> covered);
  void collect_messages();

  void prepare(const Action& action);
  void run_sandbox(const Action& action);
  void failed_to_end(const Action& action, const char* reason, const Error& error);
  void stop_sandbox(const Action& action);
  void remove_sandbox(const Action& action);
  void launch(const Action& action);
  void start(const Action& action);
  void pre_stop(const Action& action);
  void stop_container(const Action& action);
  std::string stop_signal(const std::string& id) const;
  void remove_container(const Action& action);
  void mount_next(size_t index, std::function<void(Status)> done);
  void cleanup(const Action& action);
  void release(const Action& action);
  void take_back(const std::string& key, std::function<void(std::function<void(Status)>)> remove, bool* taken);
  void remove_volumes(std::function<void(Status)> done);
  void remove_files(std::function<void(Status)> done);
  void confirm(const Action& action);

  bool static_pod() const { return pod_ && !annotation(pod_, kConfigSource).empty(); }
  /// As the API shows it: others' conditions are there.
  const core::Pod* shown() const { return static_pod() ? (mirror_ ? mirror_.as<core::Pod>() : nullptr) : spec(); }
  /// Remembers what containers have that run by an older spec than `now`.
  void note_resize(const model::Object& now);
  void resize();
  void resize_container(const std::string& name, const std::string& id);

  const core::Pod* spec() const { return pod_ ? pod_.as<core::Pod>() : nullptr; }
  const core::Container* find_container(std::string_view name) const {
    return spec() && spec()->spec() ? nodeagent::find_container(*spec()->spec(), name) : nullptr;
  }
  /// postStart or preStop; `done` comes once, unless this worker goes first.
  void run_hook(const core::LifecycleHandler& hook, const core::Container& container, const std::string& id,
                Duration timeout, std::function<void(Status)> done);
  void probe();
  /// Ready for the first time, or over: the trace ends when the gateway has heard of it.
  void follow_readiness();
  void record(bool warning, const std::string& reason, const std::string& message);
  FindReference find_reference() const;
  /// The host's with the host's network.
  const std::vector<std::string>& pod_ips() const {
    const bool host = spec()->spec() != nullptr && spec()->spec()->host_network().value_or(false);
    return host ? context_.node.host_ips : memory_.pod_ips;
  }
  std::string log() const;
  /// Where probes reach the pod; empty as long as it has no network.
  std::string address() const;
  /// Wraps a callback so that it does nothing once this worker is gone.
  template <typename F>
  auto guard(F f) {
    return [weak = std::weak_ptr<bool>(alive_), f = std::move(f)](auto&&... args) mutable {
      if (!weak.expired()) f(std::forward<decltype(args)>(args)...);
    };
  }
  void failed(std::optional<Failure>& failure, const char* reason, const Error& error);

  WorkerContext& context_;
  std::string uid_;
  model::Object pod_, mirror_;
  bool desired_ = false, finished_ = false;
  bool shown_anew_ = false;  // the API showed a state of the pod that was not compared with our word yet
  RuntimePod observed_;
  PodMemory memory_;
  Prober prober_;
  PodTrace trace_;
  std::vector<VolumePlan> volumes_;
  std::set<std::string> mounted_images_;  // names of volumes
  bool volumes_stale_ = false;            // something that they are made of changed while they were written
  std::set<std::string> completed_;       // actions done but not yet covered by an observation
  bool observing_ = false, observe_again_ = false, woken_ = false;
  std::set<std::string> resizing_;  // containers that are being told their new limits
  Timer resize_retry_;
  Timer requeue_, reobserve_, cleanup_retry_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent
