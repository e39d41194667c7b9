// Affinity, anti-affinity and spreading of one pod, weighed for one decision: what kube-scheduler's InterPodAffinity
// and PodTopologySpread do.
#pragma once

#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "services/scheduler/cluster.h"
#include "services/scheduler/pod_info.h"

namespace gantry::scheduler {

/// For as long as neither the cluster nor the pod changes.
class NeighborRules {
 public:
  NeighborRules(const Cluster& cluster, const PodInfo& pod);

  /// Nothing is asked, by the pod or of it.
  bool none() const;
  /// Null if the node will do, else why not, in the words of kube-scheduler.
  const char* refuses(const NodeInfo& node) const;
  /// The weights of what the pod would rather have near it; less than 0: rather elsewhere.
  double attraction(const NodeInfo& node) const;
  /// How full the node's places are already of what is to be spread; nullopt: the node has no such place.
  std::optional<double> crowding(const NodeInfo& node) const;

 private:
  /// Pods in each place: the nodes that have the same value of a label.
  struct Places {
    std::string_view topology;
    std::unordered_map<std::string_view, int64_t> pods;
  };
  struct Spread {
    const SpreadRule* rule;
    Places places;
    int64_t least = 0;    // of a place
    bool itself = false;  // the pod is one of those to be spread
  };
  Places places_of(std::string_view topology, const CountPerNode& counts) const;
  Spread spread_of(const SpreadRule& rule, const PodInfo& pod) const;
  bool spreads_over(const NodeInfo& node, bool required) const;

  const Cluster& cluster_;
  const Neighbors* asked_;
  std::vector<Places> refused_;  // where others do not want the pod
  std::vector<Places> together_, apart_;
  bool first_ = false;  // of pods that are to be together
  std::vector<std::pair<int64_t, Places>> preferred_;
  std::vector<Spread> spread_;
};

}  // namespace gantry::scheduler
