// The best node for a pod. A pure function of the cluster, the pod and where the last search ended.
#pragma once

#include <string>

#include "services/scheduler/cluster.h"
#include "services/scheduler/filters.h"

namespace gantry::scheduler {

struct Choice {
  const NodeInfo* node = nullptr;  // null: none fits
  Diagnosis why;                   // then why
  size_t evaluated = 0, feasible = 0;
};

/// Searches round-robin from `cursor` and moves it on. A large cluster is sampled, as kube-scheduler does: the search
/// ends when enough nodes fit. Of those the best score wins: least allocated, balanced, few pods of the same
/// controller, few soft taints, preferred affinity, spreading; the first of equals. `also`: what else a node must pass.
Choice choose(const Cluster& cluster, const PodInfo& pod, size_t& cursor, const NodeFilter& also = nullptr);

/// The node passes every filter, those that look at other pods too.
bool fits_among(const Cluster& cluster, const NodeInfo& node, const PodInfo& pod, const NodeFilter& also = nullptr);

/// How many nodes that fit are enough among `nodes`.
size_t enough(size_t nodes);

}  // namespace gantry::scheduler
