// The node agent, put together: one node on containerd, or many hollow ones.
#pragma once

#include <string>

#include "libs/base/result.h"

namespace gantry::service {
class Service;
}

namespace gantry::nodeagent {

struct Options {
  std::string node, node_ip;
  std::string containerd = "unix:///run/containerd/containerd.sock", root = "/var/lib/gantry", capacity;
  std::string cluster_dns, cluster_domain = "cluster.local", kubernetes_service = "10.96.0.1:443";
  std::string cni_conf_dir = "/etc/cni/net.d", cni_bin_dir = "/usr/lib/cni", cgroup_parent;
  std::string log_max_size = "10Mi";
  int log_max_files = 5;
  std::string static_pods;  // directory; empty: none
  int64_t shutdown_seconds = 0, shutdown_critical_seconds = 0;
  std::string shutdown_by_priority;
  std::string labels, taints, system_reserved, kube_reserved, allowed_unsafe_sysctls;
  std::string eviction_hard = "memory.available<100Mi,nodefs.available<10%,nodefs.inodesFree<5%,imagefs.available<15%";
  std::string eviction_soft, eviction_soft_grace;
  int eviction_max_grace = 0, eviction_transition_seconds = 300;
  int image_gc_high = 85, image_gc_low = 80, image_minimum_age_seconds = 120, parallel_pulls = 5;
  int64_t pod_pids = 0;
  bool pod_cidr_from_node = true;
  int hollow = 0, heartbeat_seconds = 5, stats_seconds = 5, mtu = 1450;
};

/// kInvalid for options that make no sense, and what is wrong with the machine. What it starts lives as long as the
/// service.
Status start(service::Service& service, const Options& options);

}  // namespace gantry::nodeagent
