// One session with a pod, joined to this program's streams.
#pragma once

#include "libs/base/uv_loop.h"
#include "libs/bus/session.h"

namespace gantry::client {

struct SessionStreams {
  int in = 0, out = 1, err = 2;
};

/// Opens the session as `identity` and runs the loop until it is over and all output is written. The command's exit
/// code; 0 for logs. With request.tty and a terminal at `streams.in`, the terminal is raw meanwhile and its size is
/// told. kUnavailable when the session breaks off.
Result<int> run_session(UvLoop& loop, bus::Bus& bus, const std::string& identity, const bus::SessionRequest& request,
                        SessionStreams streams = {});

}  // namespace gantry::client
