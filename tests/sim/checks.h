// What must hold of a cluster at rest, read straight from its store. Each answers what is wrong, "" when nothing is.
#pragma once

#include <string>
#include <vector>

#include "tests/sim/cluster.h"
#include "tests/sim/workload.h"

namespace gantry::sim {

/// What was declared is there, and nothing else: deployments rolled out, pods placed and ready, old ReplicaSets empty
/// and few, endpoints of exactly the ready pods, nodes ready, containers of exactly the pods.
std::string check_declared(const Cluster& cluster, const Workload& workload);

/// Everything that any process has in memory is what the store has.
std::string check_caches(Cluster& cluster);

/// Deployments, ReplicaSets, pods and nodes in a line each: for the report of a run that failed.
std::vector<std::string> describe(const Cluster& cluster);

}  // namespace gantry::sim
