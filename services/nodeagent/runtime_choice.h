// The runtime that this build has: containerd's, or none where gRPC is left out (GANTRY_RUNTIME=OFF).
#pragma once

#include <memory>
#include <string>

#include "libs/base/uv_loop.h"
#include "services/nodeagent/runtime/runtime.h"
#include "services/nodeagent/volume/csi_transport.h"

namespace gantry::nodeagent {

/// `socket`: a path, with or without unix://. `ipam_directory`: CriOptions::ipam_directory.
Result<std::unique_ptr<Runtime>> make_runtime(UvLoop& loop, std::string socket, const std::string& exec_directory,
                                              const std::string& ipam_directory);

/// How CSI drivers are called; null in a build without gRPC.
std::unique_ptr<CsiTransport> make_csi_transport(UvLoop& loop);

}  // namespace gantry::nodeagent
