// What is done to one real node, and what is printed of it.
#pragma once

#include "libs/base/result.h"
#include "tools/load/cluster.h"

namespace gantry::load {

struct ChurnOptions {
  ClusterOptions cluster;
  int pods = 5'000, at_once = 20;
  double most_growth_mb = 8;  // of the agent's memory
};
/// Creates pods and deletes each once it is ready (or has ended); compares what the node holds after the first
/// `at_once` of them with what it holds at the end. kInternal when something is left.
Status run_churn(const ChurnOptions& options);

struct KillOptions {
  ClusterOptions cluster;
  int kills = 200;
  unsigned seed = 1;
};
/// kill -9 of the agent's process, containerd and shims at random moments of a random workload. kInternal when a
/// container is lost, doubled or orphaned, or the API does not say how it is at the end.
Status run_kills(const KillOptions& options);

struct DensityOptions {
  ClusterOptions cluster;
  int pods = 100, alone = 40, idle_seconds = 60;
};
/// Pods alone beside the bare CRI calls, then many at once, idle, and gone; prints Markdown.
Status run_density(const DensityOptions& options);

}  // namespace gantry::load
