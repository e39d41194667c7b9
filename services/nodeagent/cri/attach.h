// CRI's attach: the runtime gives a URL, and speaks SPDY/3.1 there as the kubelet's streaming servers do. WebSocket
// would not do: it cannot end stdin.
#pragma once

#include <memory>
#include <string>

#include "libs/base/uv_loop.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

/// `url`: http://ip:port/path, from the Attach call. `done` with the handle, or kUnavailable. Loop's thread only; the
/// loop outlives the handle.
void start_attach(UvLoop& loop, const std::string& url, const ExecOptions& options, Process::Callbacks callbacks,
                  Runtime::Done<std::unique_ptr<Process>> done);

}  // namespace gantry::nodeagent
