// Nodes with what is left on them: the scheduler's picture, kept up to date change by change. Assumed pods count like
// bound ones. Not thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "libs/model/object.h"
#include "services/scheduler/pod_info.h"
#include "services/scheduler/residents.h"

namespace gantry::scheduler {

struct NodeInfo {
  std::string name;
  model::Object object;  // empty: pods are here, but the node is not known (any more)
  Resources allocatable, used;
  int64_t max_pods = 0, pods = 0;
  int64_t scored_cpu = 0, scored_memory = 0;  // of its pods
  bool unschedulable = false;
  std::vector<const api::core_v1::Taint*> taints;       // NoSchedule and NoExecute; into object
  std::vector<const api::core_v1::Taint*> soft_taints;  // PreferNoSchedule
  std::vector<HostPort> ports;
  std::vector<std::pair<uint32_t, int32_t>> owners;  // pods of each controller; ids are the Cluster's

  int32_t pods_of(uint32_t owner) const {
    for (const auto& [id, n] : owners) {
      if (id == owner) return n;
    }
    return 0;
  }
};

class Cluster {
 public:
  Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  /// True if pods that did not fit may fit now.
  bool set_node(const model::Object& node);
  void remove_node(std::string_view name);

  /// The pod takes room on `node`, known or not; replaces what was said of it before.
  void set_pod(const PodInfo& pod, std::string_view node);
  /// A pod that is placed changed. True if other pods see that: its labels, or that it is about to end.
  bool refresh_pod(std::string_view key, const model::Object& object);
  /// While a decision is made: the pod takes no room, and nobody sees it. Set back before anything else is told.
  void set_aside(const std::string& key, bool aside);
  /// Pods that run with a lower priority and are not set aside, by the slot of their node; and those of one node. Valid
  /// until a pod is set or removed.
  std::vector<std::vector<const PodInfo*>> pods_below(int32_t priority) const;
  std::vector<const PodInfo*> pods_below(int32_t priority, std::string_view node) const;
  bool has_below(int32_t priority) const { return !priorities_.empty() && priorities_.begin()->first < priority; }
  /// True if room became free.
  bool remove_pod(std::string_view key);
  /// Its labels count for terms that select namespaces. An empty object: it is gone. True if pods may fit now.
  bool set_namespace(std::string_view name, const model::Object& object);
  /// The node that the pod is on, or "".
  std::string_view node_of(std::string_view key) const;

  /// Slots in the order in which nodes came; a slot without an object is empty.
  const std::vector<NodeInfo>& nodes() const { return nodes_; }
  size_t node_count() const { return known_; }
  const NodeInfo* node(std::string_view name) const;
  /// How many of the pods that are placed are meant, for each slot; see Residents.
  const CountPerNode& matching(const PodMatch& match, bool ending_too) const {
    return residents_.matching(match, ending_too);
  }
  const std::map<std::string, Residents::Refusal>& refusals() const { return residents_.refusals(); }
  bool matches(const PodMatch& match, const model::Object& pod) const;
  /// 0: no pod has this controller.
  uint32_t owner_id(const std::string& uid) const;
  /// Grows whenever pods that did not fit may fit.
  uint64_t generation() const { return generation_; }
  /// Something else than nodes and pods changed, and pods that did not fit may fit.
  void touch() { ++generation_; }

 private:
  struct Placed {
    size_t node;
    PodInfo pod;  // its object is the newest, which the cache holds anyway
    bool aside = false;
  };
  void place(Placed& placed, int sign);
  size_t slot(std::string_view name);
  void count(NodeInfo& node, const PodInfo& pod, int sign);
  void drop_if_empty(size_t slot);

  std::vector<NodeInfo> nodes_;
  std::unordered_map<std::string, size_t> slots_;
  std::vector<size_t> free_;
  std::unordered_map<std::string, Placed> pods_;
  std::unordered_map<std::string, std::pair<uint32_t, int32_t>> owner_ids_;  // uid -> id, pods
  uint32_t next_owner_ = 1;
  size_t known_ = 0;
  std::map<int32_t, size_t> priorities_;  // of pods that are placed: how many
  uint64_t generation_ = 1;
  std::unordered_map<std::string, model::Object> namespaces_;
  mutable Residents residents_;  // what has been asked for is counted from then on
};

}  // namespace gantry::scheduler
