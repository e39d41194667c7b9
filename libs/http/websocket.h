// WebSocket framing over a Stream. Internal to libs/http: handlers use Responder::upgrade_websocket().
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "libs/http/responder.h"

namespace gantry::http {

/// Sec-WebSocket-Accept for a Sec-WebSocket-Key.
std::string websocket_accept(std::string_view key);

/// The server's side of an established WebSocket; null for a null stream. A message longer than `max_message` bytes
/// closes with 1009.
std::shared_ptr<WebSocket> make_websocket(std::shared_ptr<Stream> stream, size_t max_message);

}  // namespace gantry::http
