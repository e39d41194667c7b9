// Puts the images that tools/images built into a node's containerd.
#pragma once

#include <string>

#include "libs/base/result.h"
#include "tools/gantry/dev/config.h"

namespace gantry::dev {

/// Imports every <name>.tar of cluster.images whose digest the node does not have yet; how many.
Result<int> import_images(const Paths& paths, const Cluster& cluster, const std::string& node);

}  // namespace gantry::dev
