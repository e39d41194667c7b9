// CSI over gRPC on unix sockets.
#pragma once

#include "services/nodeagent/volume/csi_transport.h"

namespace gantry::nodeagent {

/// Loop's thread only; the loop outlives it. Destroying it cancels what is under way; no answer comes after.
std::unique_ptr<CsiTransport> make_grpc_transport(Loop& loop);

}  // namespace gantry::nodeagent
