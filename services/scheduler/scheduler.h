// Gives pods their nodes. Follows nodes and pods at all times, so that a standby is warm; binds only while it leads.
//
//   pods/nodes caches -> Cluster + Queue -> choose() -> assume -> Bind command -> the pod's event confirms
//
// An assumed pod takes room from the moment of the decision. It is forgotten when the command fails, or when the view
// covers the commit's revision and shows the pod elsewhere or gone: so nothing is placed twice and no node is
// overcommitted by a decision from an old view. Across processes the lease's epoch in every command does the same. Pods
// that fit nowhere sleep until a node or a departing pod makes room; one of higher priority drives others out, and is
// nominated for their node until they are gone. Loop's thread only.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "libs/base/loop.h"
#include "libs/bus/command.h"
#include "libs/projection/cache.h"
#include "libs/projection/catch_up.h"
#include "libs/projection/recorder.h"
#include "services/scheduler/choose.h"
#include "services/scheduler/cluster.h"
#include "services/scheduler/nominations.h"
#include "services/scheduler/orders.h"
#include "services/scheduler/preempt.h"
#include "services/scheduler/queue.h"
#include "services/scheduler/volumes.h"

namespace gantry::scheduler {

class Scheduler {
 public:
  struct Options {
    std::string name = "default-scheduler";                  // of spec.schedulerName, and of the component in Events
    size_t max_in_flight = 4'000;                            // binds
    size_t per_turn = 256;                                   // pods tried in one turn of the loop: one batch of binds
    Duration wake_interval = std::chrono::milliseconds(50);  // sleeping pods are not tried more often
    Duration retry = std::chrono::seconds(1);                // after a failed or unanswered command
  };
  struct Counters {
    uint64_t bound = 0, failed = 0, unschedulable = 0, tried = 0, resends = 0, victims = 0;
  };

  /// All outlive the Scheduler; `recorder` may be null. The caches are of all nodes and all pods.
  Scheduler(Loop& loop, bus::Commands& commands, projection::Cache& nodes, projection::Cache& pods,
            projection::Recorder* recorder);
  Scheduler(Loop& loop, bus::Commands& commands, projection::Cache& nodes, projection::Cache& pods,
            projection::Recorder* recorder, Options options);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  /// Pods with claims go where their volumes are, or wait for them. Without it claims are not looked at. It outlives
  /// the Scheduler.
  void use_volumes(const Volumes& volumes);
  /// A claim, a volume, a class or a driver changed.
  void volumes_changed();
  /// Terms that select namespaces see their labels. It outlives the Scheduler.
  void use_namespaces(projection::Cache& namespaces);

  /// Preemption breaks no budget that it need not break. It outlives the Scheduler.
  void use_budgets(const projection::Cache& budgets) { budgets_ = &budgets; }

  void lead(std::string lease, uint64_t epoch);
  void resign();
  bool leading() const { return phase_ == Phase::kLeading; }
  /// Called when apigw says that a newer epoch holds the lease, after resign().
  void on_deposed(std::function<void()> callback) { deposed_ = std::move(callback); }

  const Cluster& cluster() const { return cluster_; }
  const Queue& queue() const { return queue_; }
  size_t in_flight() const { return in_flight_; }
  const Counters& counters() const { return counters_; }

 private:
  enum class Phase : uint8_t { kFollowing, kCatchingUp, kLeading };
  struct Assumed {
    std::string uid, node;
    bool answered = false;
    uint64_t revision = 0;  // of the bind, once answered
  };
  struct Blocked {
    uint64_t generation;
    std::string message;
  };

  void node_changed(const projection::Change& change);
  void pod_changed(const projection::Change& change);
  void start();
  void wake_turn();
  void wake_sleepers();
  /// Pods that ask for others, or to be apart from them, may fit now.
  void neighbors_changed();
  void turn();
  bool try_one(Queue::Item& item);
  Choice find_node(const PodInfo& pod, Volumes::Needs& needs);
  /// The pod fits nowhere: pods of lower priority go, if that helps. The end of the message that says so.
  std::string make_room(Queue::Item& item, const Volumes::Needs& needs);
  void drive_out(const PodInfo& victim, const PodInfo& pod, const std::string& node);
  /// The victim is still there: in a while its room is looked for again.
  void victim_stays(const std::string& key);
  void nominate(const model::Object& pod, const std::string& node);
  /// Writes the node into the claims that wait for it; the pod is tried again when they are bound.
  void select_node(const PodInfo& pod, const Volumes::Needs& needs, const std::string& node);
  void bind(const PodInfo& pod, const std::string& node);
  /// `in_doubt`: sent before, with an unknown outcome.
  void send_bind(bus::Command command, const model::Object& pod, bool in_doubt = false);
  void bound(const bus::Command& command, const model::Object& pod, const Result<bus::CommandOutcome>& result);
  void forget(const std::string& key);
  void settle();
  void reject(Queue::Item& item, const std::string& message);
  bool lost_lease(const Error& error);

  Loop& loop_;
  bus::Commands& commands_;
  projection::Cache& nodes_;
  projection::Cache& pods_;
  projection::Recorder* recorder_;
  const Volumes* volumes_ = nullptr;
  const projection::Cache* budgets_ = nullptr;
  Options options_;

  Phase phase_ = Phase::kFollowing;
  Author author_;
  uint64_t term_ = 0, numbered_ = 0;
  std::string nonce_;
  std::unique_ptr<projection::CatchUp> catch_up_;
  std::function<void()> deposed_;

  Cluster cluster_;
  Nominations nominations_{cluster_};
  Queue queue_;
  size_t cursor_ = 0;
  std::unordered_map<std::string, Assumed> assumed_;
  std::unordered_map<uint64_t, Blocked> blocked_;  // by shape: what did not fit while nothing became free
  size_t in_flight_ = 0;
  bool woken_ = false;
  bool neighbors_wait_ = false;  // a pod that sleeps asks for others
  Timer sleepers_, tick_;
  std::map<uint64_t, Timer> retries_;
  uint64_t next_retry_ = 0;
  Counters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::scheduler
