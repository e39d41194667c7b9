// The standard health check of gRPC servers (grpc.health.v1.Health/Check), over plain HTTP/2.
#pragma once

#include <functional>
#include <string>

#include "libs/base/result.h"
#include "libs/base/uv_loop.h"

namespace gantry::nodeagent {

/// `address`: ip:port, [v6]:port. `done` comes once from the loop: done on SERVING; kTimeout, or kUnavailable with what
/// the server answered instead. The loop outlives the call.
void probe_grpc(UvLoop& loop, const std::string& address, const std::string& service, Duration timeout,
                std::function<void(Status)> done);

}  // namespace gantry::nodeagent
