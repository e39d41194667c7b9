// The managed /etc/hosts of a pod. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "services/nodeagent/render/context.h"

namespace gantry::nodeagent {

/// `machine_hosts`: the machine's own /etc/hosts, with which a pod on the host's network begins.
std::string render_hosts(const core::Pod& pod, const NodeContext& node, const std::vector<std::string>& pod_ips,
                         const std::string& machine_hosts = "");

/// The name by which a pod knows itself, and the domain of its subdomain ("" without).
struct PodHostname {
  std::string name, domain;
};
PodHostname pod_hostname(const core::Pod& pod, const NodeContext& node);
/// What uname shows in it; empty on the node's network, where the name is the node's. kInvalid when setHostnameAsFQDN
/// asks for more than the kernel holds.
Result<std::string> kernel_hostname(const core::Pod& pod, const NodeContext& node);

}  // namespace gantry::nodeagent
