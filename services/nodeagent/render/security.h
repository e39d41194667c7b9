// The security context of pods and containers, and what this node does not grant. Pure functions.
#pragma once

#include <optional>
#include <string>

#include "services/nodeagent/render/context.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

SeccompProfile render_seccomp(const core::SeccompProfile* profile, const NodeContext& node);
SeLinux render_selinux(const core::SELinuxOptions* options);

/// Users, groups, capabilities and profiles. kInvalid when the container must not run as root, and would.
Status set_security(const core::Pod& pod, const core::Container& container, const NodeContext& node, const Image* image,
                    ContainerConfig& out);

/// A pod that this node will never run, in the words of its status.
struct Rejection {
  std::string reason, message;
};
/// For sysctls and profiles that are not allowed here, and features that the runtime lacks.
std::optional<Rejection> reject(const core::Pod& pod, const NodeContext& node, const RuntimeStatus& runtime);

}  // namespace gantry::nodeagent
