// Whether this node takes a pod that was bound to it: it may lack what the pod needs, or have given it away meanwhile.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>

#include "services/nodeagent/agent/agent.h"
#include "services/nodeagent/node/registrar.h"
#include "services/nodeagent/render/security.h"

namespace gantry::nodeagent {

/// The first resource that `pod` asks for and that is not left of `allocatable` beside `others`, in the words of a
/// pod's status: OutOfcpu. Pure.
std::optional<Rejection> does_not_fit(const core::Pod& pod, const std::map<std::string, std::string>& allocatable,
                                      const std::vector<const core::Pod*>& others);

/// Has `agent` ask this of each new pod. All outlive the agent's use of it.
void admit_pods(Agent& agent, const Registrar& registrar, const projection::Cache& pods,
                std::function<bool()> memory_pressure);

}  // namespace gantry::nodeagent
