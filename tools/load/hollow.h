// The measuring runs.
#pragma once

#include <string>

#include "libs/base/result.h"
#include "tools/gantry/client/gateway.h"
#include "tools/load/cluster.h"

namespace gantry::load {

struct HollowOptions {
  ClusterOptions cluster;
  int nodes = 100, pods = 1'000;
  std::string capacity = "cpu=32,memory=64Gi,pods=110";
  int settle_seconds = 10, timeout_seconds = 300;
};

/// Starts a control plane, hollow nodes, and a Deployment; prints memory and CPU of each process at each stage, and the
/// time of each phase.
Status run_hollow(const HollowOptions& options);

/// A control plane of its own with hollow nodes, for whoever wants to try something on one: prints the kubeconfig, each
/// gateway's address and process, then "ready", and ends with SIGTERM or SIGINT. A gateway that ends is not missed.
Status run_plane(const HollowOptions& options);

/// Waits until a gateway answers, for 30 s: one that was just started is on the bus before it is connected to Redis,
/// and says so.
Status await_gateway(client::Gateway& gateway, const Cluster& cluster);

/// Listens to a cluster's events for `seconds` and prints the phases of the pods that it saw from their creation on.
Status run_phases(const client::ConnectOptions& connect, int seconds);

}  // namespace gantry::load
