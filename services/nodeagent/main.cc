// gantry-nodeagent: runs the pods of one node on containerd, or of many hollow nodes on nothing (--hollow).
#include <CLI/CLI.hpp>
#include <filesystem>

#include "libs/service/service.h"
#include "services/nodeagent/nodeagent.h"

int main(int argc, char** argv) {
  using namespace gantry;
  service::Service service("nodeagent", "Runs the pods of a node");
  auto options = std::make_shared<nodeagent::Options>();
  auto& flags = service.flags();
  flags.add_option("--node", options->node, "Name of the node (default: the host's name)");
  flags.add_option("--node-ip", options->node_ip, "InternalIP (default: the address used toward the bus)");
  flags.add_option("--containerd", options->containerd, "containerd's socket")->capture_default_str();
  flags.add_option("--root", options->root, "The agent's directory: logs, volumes, epoch")->capture_default_str();
  flags.add_option("--capacity", options->capacity, "cpu=2,memory=4Gi,pods=110 (default: the machine's)");
  flags.add_flag("--pod-cidr-from-node,!--no-pod-cidr-from-node", options->pod_cidr_from_node,
                 "Write the CNI configuration from the node's spec.podCIDR");
  flags.add_option("--hollow", options->hollow, "Run this many hollow nodes hollow-<i> instead of a real one");
  flags.add_option("--cluster-dns", options->cluster_dns, "Address of the cluster's DNS");
  flags.add_option("--cluster-domain", options->cluster_domain, "Domain of the cluster")->capture_default_str();
  flags
      .add_option("--kubernetes-service", options->kubernetes_service,
                  "Address of the kubernetes Service, for pods' environment")
      ->capture_default_str();
  flags.add_option("--cni-conf-dir", options->cni_conf_dir, "Where containerd looks for CNI configuration")
      ->capture_default_str();
  flags.add_option("--cni-bin-dir", options->cni_bin_dir, "Where the CNI plugins are")->capture_default_str();
  flags.add_option("--cgroup-parent", options->cgroup_parent, "Parent cgroup of pods");
  flags.add_option("--heartbeat-period", options->heartbeat_seconds, "Seconds between heartbeats")
      ->check(CLI::Range(1, 600))
      ->capture_default_str();
  flags.add_option("--stats-period", options->stats_seconds, "Seconds between reports of what containers use")
      ->check(CLI::Range(1, 600))
      ->capture_default_str();
  flags.add_option("--container-log-max-size", options->log_max_size, "Size at which a container's log is rotated")
      ->capture_default_str();
  flags
      .add_option("--container-log-max-files", options->log_max_files,
                  "Log files kept of a container, the current one included")
      ->check(CLI::Range(2, 100))
      ->capture_default_str();
  flags.add_option("--static-pods", options->static_pods, "Directory of manifests that run without the API");
  flags
      .add_option(
          "--shutdown-grace-period", options->shutdown_seconds,
          "Seconds for pods to end before the machine does (on SIGTERM while systemd stops the machine, or on SIGPWR); "
          "0: pods are left to it")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  flags
      .add_option("--shutdown-grace-period-critical-pods", options->shutdown_critical_seconds,
                  "How much of it is for critical pods, which end last")
      ->check(CLI::NonNegativeNumber)
      ->capture_default_str();
  flags.add_option("--shutdown-grace-period-by-pod-priority", options->shutdown_by_priority,
                   "0=60,10000=30,...: instead of these two, seconds for the pods of each priority and above");
  flags.add_option("--node-labels", options->labels, "Labels of the node: a=b,c=d");
  flags.add_option("--register-with-taints", options->taints, "Taints that the node is created with: key=value:effect");
  flags.add_option("--system-reserved", options->system_reserved,
                   "Kept from pods for the system: cpu=100m,memory=200Mi,ephemeral-storage=1Gi");
  flags.add_option("--kube-reserved", options->kube_reserved, "Kept from pods for the agent and containerd");
  flags.add_option("--allowed-unsafe-sysctls", options->allowed_unsafe_sysctls,
                   "Sysctls that pods may set beside the safe ones: kernel.msg*,net.core.somaxconn");
  flags.add_option("--eviction-hard", options->eviction_hard, "Below these pods go at once")->capture_default_str();
  flags.add_option("--eviction-soft", options->eviction_soft,
                   "Below these for their grace period pods go, with theirs");
  flags.add_option("--eviction-soft-grace-period", options->eviction_soft_grace, "memory.available=1m30s,...");
  flags.add_option("--eviction-max-pod-grace-period", options->eviction_max_grace,
                   "Seconds that a pod gets to end when a soft threshold is crossed");
  flags
      .add_option("--eviction-pressure-transition-period", options->eviction_transition_seconds,
                  "Seconds that a node shows pressure after it has ended")
      ->capture_default_str();
  flags
      .add_option("--image-gc-high-threshold", options->image_gc_high,
                  "Percentage of the disk from which unused images are removed")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  flags.add_option("--image-gc-low-threshold", options->image_gc_low, "... and down to which")
      ->check(CLI::Range(0, 100))
      ->capture_default_str();
  flags
      .add_option("--minimum-image-age", options->image_minimum_age_seconds,
                  "Seconds that an unused image is kept at least")
      ->capture_default_str();
  flags.add_option("--max-parallel-image-pulls", options->parallel_pulls, "Images pulled at once; 0: no limit")
      ->check(CLI::Range(0, 1000))
      ->capture_default_str();
  flags.add_option("--pod-max-pids", options->pod_pids, "Processes of one pod; 0: no limit");
  flags.add_option("--mtu", options->mtu, "MTU of pods")->check(CLI::Range(576, 65'000))->capture_default_str();
  return service.run(argc, argv, [options](service::Service& s) { return nodeagent::start(s, *options); });
}
