// A container's environment. Pure functions.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "services/nodeagent/render/context.h"

namespace gantry::nodeagent {

using Env = std::vector<std::pair<std::string, std::string>>;

/// $(NAME) replaced by its value, $$ by $; an unknown name stays as it is written.
std::string expand(std::string_view text, const Env& env);

/// The Service variables, then envFrom, then env (the later wins). kInvalid (what kubectl shows as
/// CreateContainerConfigError) names the ConfigMap, Secret or key that is missing and not optional.
Result<Env> render_env(const core::Pod& pod, const core::Container& container, const NodeContext& node,
                       const std::vector<std::string>& pod_ips, const FindReference& find);

}  // namespace gantry::nodeagent
