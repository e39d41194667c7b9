// Connections made from inside another network namespace.
#pragma once

#include <string>

#include "libs/base/result.h"

namespace gantry::nodeagent {

/// Connects to 127.0.0.1:port (then ::1) inside the network namespace at `path` ("" = our own). Blocks up to
/// `timeout_millis`: call it on a thread of its own, since the thread enters the namespace and must end after. Returns
/// a connected, non-blocking socket.
Result<int> connect_in_netns(const std::string& path, uint16_t port, int timeout_millis);

}  // namespace gantry::nodeagent
