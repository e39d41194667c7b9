// What the node and its containers use, in the Prometheus text format. Names and labels need no escaping: they are DNS
// labels, interfaces and ids.
#include <fmt/format.h>

#include "services/nodeagent/node/usage_reporter.h"

namespace gantry::nodeagent {

namespace {

using Used = Runtime::ContainerUsage;
using UsedPod = Runtime::PodUsage;
using Interface = Runtime::PodUsage::Interface;

double seconds(uint64_t nanos) { return static_cast<double>(nanos) / 1e9; }

void head(std::string& out, const char* name, const char* type, const char* help) {
  out += fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n", name, type, help);
}

template <typename Value>
void of_containers(std::string& out, const std::vector<Used>& containers, const char* name, const char* type,
                   const char* help, Value value) {
  head(out, name, type, help);
  for (const auto& c : containers) {
    out += fmt::format("{}{{namespace=\"{}\",pod=\"{}\",container=\"{}\",id=\"{}\"}} {}\n", name, c.ns, c.pod_name,
                       c.name, c.container_id, value(c));
  }
}

void of_interfaces(std::string& out, const std::vector<UsedPod>& pods, const char* name, const char* help,
                   uint64_t Interface::*value) {
  head(out, name, "counter", help);
  for (const auto& pod : pods) {
    for (const auto& i : pod.interfaces) {
      out += fmt::format("{}{{namespace=\"{}\",pod=\"{}\",interface=\"{}\"}} {}\n", name, pod.ns, pod.name, i.name,
                         i.*value);
    }
  }
}

}  // namespace

std::string expose_usage(const NodeUsage& node, const std::vector<Used>& containers, const std::vector<UsedPod>& pods) {
  std::string out;
  of_containers(out, containers, "container_cpu_usage_seconds_total", "counter", "Processor time of a container.",
                [](const Used& c) { return seconds(c.cpu_nanos); });
  of_containers(out, containers, "container_memory_working_set_bytes", "gauge",
                "Memory that cannot be had back without pressure.", [](const Used& c) { return c.memory_working_set; });
  of_containers(out, containers, "container_memory_usage_bytes", "gauge", "All memory, caches included.",
                [](const Used& c) { return c.memory_usage; });
  of_containers(out, containers, "container_memory_rss", "gauge", "Anonymous memory.",
                [](const Used& c) { return c.memory_rss; });
  of_containers(out, containers, "container_fs_usage_bytes", "gauge", "What a container wrote to its own layer.",
                [](const Used& c) { return c.fs_used; });
  of_containers(out, containers, "container_fs_inodes_used", "gauge", "Files in a container's own layer.",
                [](const Used& c) { return c.fs_inodes; });
  of_interfaces(out, pods, "container_network_receive_bytes_total", "Bytes that a pod received.", &Interface::rx_bytes);
  of_interfaces(out, pods, "container_network_receive_errors_total", "Errors in what it received.",
                &Interface::rx_errors);
  of_interfaces(out, pods, "container_network_transmit_bytes_total", "Bytes that a pod sent.", &Interface::tx_bytes);
  of_interfaces(out, pods, "container_network_transmit_errors_total", "Errors in what it sent.", &Interface::tx_errors);
  head(out, "container_processes", "gauge", "Processes of a pod.");
  for (const auto& pod : pods)
    out += fmt::format("container_processes{{namespace=\"{}\",pod=\"{}\"}} {}\n", pod.ns, pod.name, pod.processes);
  head(out, "node_cpu_usage_seconds_total", "counter", "Processor time of the node.");
  out += fmt::format("node_cpu_usage_seconds_total {}\n", seconds(node.cpu_nanos));
  head(out, "node_memory_working_set_bytes", "gauge", "Memory of the node that cannot be had back without pressure.");
  out += fmt::format("node_memory_working_set_bytes {}\n", node.memory_working_set);
  return out;
}

}  // namespace gantry::nodeagent
