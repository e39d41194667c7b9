// A pod as the runtime is asked to run it. Pure functions.
#pragma once

#include "services/nodeagent/render/env.h"
#include "services/nodeagent/render/volumes.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

/// Below the node's parent: by QoS class, then one a pod. "" without a parent.
std::string pod_cgroup(const core::Pod& pod, const NodeContext& node);

SandboxConfig render_sandbox(const core::Pod& pod, const NodeContext& node, uint32_t attempt);

/// kInvalid: what kubectl shows as CreateContainerConfigError. `image`: the container's, when it is known; whether it
/// may run as root depends on it.
Result<ContainerConfig> render_container(const core::Pod& pod, const core::Container& container, uint32_t attempt,
                                         const NodeContext& node, const std::vector<std::string>& pod_ips,
                                         const std::vector<VolumePlan>& volumes, const FindReference& find,
                                         const Image* image = nullptr);

/// Always, IfNotPresent or Never; by the tag when the container does not say.
std::string pull_policy(const core::Container& container);

}  // namespace gantry::nodeagent
