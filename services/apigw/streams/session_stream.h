// A session with a node as an http::Stream: what is written goes to the session's stdin, what comes on its stdout is
// read. Loop's thread only.
#pragma once

#include <functional>
#include <memory>

#include "libs/bus/session.h"
#include "libs/http/responder.h"

namespace gantry::apigw {

/// Opens a session (SessionRequest::address). Errors as bus::open_session's.
void open_session_stream(Loop& loop, bus::Bus& bus, const std::string& node, const bus::SessionRequest& request,
                         std::function<void(Result<std::shared_ptr<http::Stream>>)> done);

}  // namespace gantry::apigw
