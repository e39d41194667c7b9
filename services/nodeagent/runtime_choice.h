// The runtime that this build has: containerd's, or none where gRPC is left out (GANTRY_RUNTIME=OFF).
#pragma once

#include <memory>
#include <string>

#include "libs/base/uv_loop.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

/// `socket`: a path, with or without unix://.
Result<std::unique_ptr<Runtime>> make_runtime(UvLoop& loop, std::string socket, const std::string& exec_directory);

}  // namespace gantry::nodeagent
