// Which nodes a pod may run on. Pure functions.
#pragma once

#include <functional>
#include <map>
#include <string>

#include "services/scheduler/cluster.h"
#include "services/scheduler/pod_info.h"

namespace gantry::scheduler {

/// Every filter at once, cheapest first.
bool fits(const NodeInfo& node, const PodInfo& pod);

/// Null if the node passes, else why not, in the words of kube-scheduler. May be empty: all pass.
using NodeFilter = std::function<const char*(const NodeInfo&)>;

/// Why no node took a pod, in the words of kube-scheduler.
struct Diagnosis {
  size_t nodes = 0;
  std::map<std::string, size_t> reasons;  // reason -> nodes
  /// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint {a: b}.`
  std::string message() const;
};
Diagnosis diagnose(const Cluster& cluster, const PodInfo& pod, const NodeFilter& also = nullptr);

/// What no pod's leaving changes: the node is open to it, by taints, selectors and affinity to nodes.
bool lets_in(const NodeInfo& node, const PodInfo& pod);
/// Every NoSchedule and NoExecute taint.
bool tolerates_taints(const NodeInfo& node, const PodInfo& pod);
/// nodeSelector and required node affinity.
bool matches_selectors(const NodeInfo& node, const PodInfo& pod);
bool matches_term(const api::core_v1::NodeSelectorTerm& term, const NodeInfo& node);

}  // namespace gantry::scheduler
