// A control plane of its own with one real node: containerd, the agent's process, and what the API shows of its pods.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "services/nodeagent/cri/testing/containerd.h"
#include "tools/load/cluster.h"

namespace gantry::load {

/// A pod as the API shows it. Times are those of the commits, microseconds since 1970; 0: not yet.
struct SeenPod {
  std::string name, phase;
  int64_t created = 0, running = 0, ready_at = 0, deleted = 0;
  bool ready = false;
  std::map<std::string, std::string> running_ids;  // container -> id, without its scheme
  std::vector<std::string> exit_codes;             // "<container>=<code>" of those that have ended
};

/// A container of the runtime, or a sandbox, which has no name.
struct CriContainer {
  std::string pod_uid, name;
  bool running = false;
  std::string sandbox;
};

/// What a node holds while it has no pods, or some.
struct Holdings {
  double agent_mb = 0;  // anonymous memory of the agent
  std::map<std::string, int64_t> counts;
};

/// Needs root. One thread.
class Node {
 public:
  /// Up and Ready when it returns.
  static Result<std::unique_ptr<Node>> start(ClusterOptions options, std::vector<std::string> agent_flags = {});
  ~Node();

  Status start_agent();
  void kill_agent() { cluster_->kill9("nodeagent"); }
  pid_t agent() const { return cluster_->pid("nodeagent"); }
  Usage usage() const { return cluster_->usage("nodeagent"); }
  testing::Containerd& containerd() { return *containerd_; }
  client::Gateway& gateway() { return *gateway_; }
  UvLoop& loop() { return gateway_->loop(); }
  static constexpr char kName[] = "node-1";

  /// A pod of this node; its uid.
  Result<std::string> create(const std::string& name, const nlohmann::json& spec);
  /// As a user does; `force` takes it out of the API at once.
  Status remove(const std::string& name, bool force = false);
  /// By uid; one that has gone stays, with its time.
  const std::map<std::string, SeenPod>& pods() const { return pods_; }
  /// Pods of the API that have not gone.
  size_t present() const;
  void forget_gone();
  /// Turns the loop until it holds; kTimeout otherwise, kUnavailable when a server has ended.
  Status until(const std::string& what, int seconds, const std::function<bool()>& done);
  Status settle(int seconds);
  Holdings holdings() const;
  /// Containers and sandboxes that run, by containerd's tasks.
  std::set<std::string> running_tasks() const;
  /// What CRI has, by id.
  std::map<std::string, CriContainer> cri_containers() const;

 private:
  Node() = default;
  void on_event(const bus::Event& event);

  std::vector<std::string> flags_;
  std::unique_ptr<Cluster> cluster_;
  std::unique_ptr<testing::Containerd> containerd_;
  std::unique_ptr<client::Gateway> gateway_;
  std::unique_ptr<bus::Subscription> events_;
  std::map<std::string, SeenPod> pods_;
  std::string node_ready_;
};

/// The programs' images are in `build/images`; a pod that stays, one that has volumes, an init container and a sidecar,
/// one that ends with `code`.
nlohmann::json pod_that_stays();
nlohmann::json pod_with_volumes();
nlohmann::json pod_that_ends(int code);

}  // namespace gantry::load
