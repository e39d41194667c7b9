// What is left of a cluster once its supervisor is gone: containers, shims, mounts, cgroups, namespaces.
#pragma once

#include <string>
#include <vector>

#include "tools/gantry/dev/paths.h"

namespace gantry::dev {

/// Ends every process of the cluster: those that supervisor and services left, and all containers of its nodes.
void kill_everything(const Paths& paths);
/// Unmounts all under the cluster's folder, removes its cgroups, its network and the sockets and state that mean
/// nothing after a restart.
void remove_everything(const Paths& paths);
/// What the two should have taken away, in words; empty is what we want.
std::vector<std::string> leftovers(const Paths& paths);

}  // namespace gantry::dev
