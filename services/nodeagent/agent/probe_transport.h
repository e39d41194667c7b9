// How probes reach pods: real connections, or none for hollow nodes.
#pragma once

#include <memory>

#include "libs/base/uv_loop.h"
#include "services/nodeagent/agent/prober.h"

namespace gantry::nodeagent {

/// HTTP(S) and TCP from this process's network namespace. HTTPS certificates are not verified, as kubelets do. The loop
/// outlives it.
std::unique_ptr<ProbeTransport> make_probe_transport(UvLoop& loop);
/// Everything is healthy.
std::unique_ptr<ProbeTransport> make_hollow_transport(Loop& loop);

}  // namespace gantry::nodeagent
