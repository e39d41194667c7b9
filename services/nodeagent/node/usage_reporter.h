// What this node and its containers use, told to the gateway: `kubectl top` shows it.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "libs/bus/bus.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

struct NodeUsage {
  uint64_t cpu_nanos = 0;           // of all processors, since they started
  uint64_t memory_working_set = 0;  // bytes that cannot be had back without pressure
};

/// The text of one exposition.
std::string expose_usage(const NodeUsage& node, const std::vector<Runtime::ContainerUsage>& containers,
                         const std::vector<Runtime::PodUsage>& pods);

/// Of the whole machine, by the texts of /proc/stat and /proc/meminfo (proc(5)); `ticks` a second, as sysconf says.
NodeUsage parse_usage(const std::string& stat, const std::string& meminfo, int64_t ticks);
NodeUsage machine_usage();

/// Publishes node.Stats on gantry.node.<node>.up.stats once a period, as soft state: what gets lost is said again. The
/// machine's use is left out for a node that is only a part of its machine: then the node uses what its containers do.
/// Loop's thread only; everything passed by reference outlives it.
class UsageReporter {
 public:
  UsageReporter(Loop& loop, bus::Bus& bus, Runtime& runtime, std::string node, Duration period,
                std::function<NodeUsage()> machine);

  /// What was learnt last, as Prometheus reads it; the names are those of cAdvisor and of the kubelet's resource
  /// metrics. Pods' network is only asked for while somebody reads this.
  std::string expose();

 private:
  void ask();
  void ask_pods();
  void publish(const std::vector<Runtime::ContainerUsage>& containers);
  NodeUsage of_containers(const std::vector<Runtime::ContainerUsage>& containers);

  Loop& loop_;
  bus::Bus& bus_;
  Runtime& runtime_;
  std::string node_;
  std::function<NodeUsage()> machine_;
  bool asking_ = false;
  // Counters of containers end with them; the node's must not fall.
  std::map<std::string, uint64_t> seen_;  // container id -> nanoseconds
  uint64_t spent_ = 0;
  std::vector<Runtime::ContainerUsage> containers_;
  std::vector<Runtime::PodUsage> pods_;
  NodeUsage total_;
  WallMicros read_at_ = 0;
  Timer timer_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent
