// How many pods of a kind run on each node: counted once it is asked for, then kept up to date. Not thread-safe.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "services/scheduler/neighbors.h"
#include "services/scheduler/pod_info.h"

namespace gantry::scheduler {

/// Pods by the slot of a node, see Cluster.
using CountPerNode = std::vector<int32_t>;

class Residents {
 public:
  /// Calls `visit` with each pod that is placed, and its slot.
  using Each = std::function<void(const std::function<void(const PodInfo&, size_t)>& visit)>;

  Residents(NamespaceLabels namespaces, Each each) : namespaces_(std::move(namespaces)), each_(std::move(each)) {}

  /// `sign`: 1 when the pod, with its object, comes, -1 when it goes.
  void count(const PodInfo& pod, size_t slot, int32_t sign);
  /// Valid until the next call. Slots beyond its end have none.
  const CountPerNode& matching(const PodMatch& match, bool ending_too);
  /// The labels of namespaces changed.
  void forget_namespaces();

  /// What pods that are placed refuse to have beside them.
  struct Refusal {
    AffinityTerm term;
    CountPerNode holders;
    int64_t total = 0;
  };
  const std::map<std::string, Refusal>& refusals() const { return refusals_; }
  const NamespaceLabels& namespaces() const { return namespaces_; }

 private:
  static constexpr size_t kMostGroups = 512;  // those used last stay
  struct Group {
    PodMatch match;
    bool ending_too;
    CountPerNode counts;
    uint64_t used;
  };
  bool counts_in(const Group& group, const PodInfo& pod) const;

  NamespaceLabels namespaces_;
  Each each_;
  std::unordered_map<std::string, Group> groups_;
  std::map<std::string, Refusal> refusals_;  // in an order, so that equal clusters decide alike
  uint64_t uses_ = 0;
};

}  // namespace gantry::scheduler
