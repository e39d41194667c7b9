// Outgoing connections as a Stream: plain TCP, TLS, or what an HTTP/1.1 Upgrade makes of them.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "libs/base/result.h"
#include "libs/base/uv_loop.h"
#include "libs/http/responder.h"

namespace gantry::http {

struct DialOptions {
  std::string address;  // ip:port, [v6]:port
  bool tls = false;     // any certificate is accepted
  std::chrono::milliseconds timeout{10'000};
};
/// `done` comes once from the loop: the connected Stream, or kUnavailable, kTimeout, kInvalid (address).
void dial(UvLoop& loop, const DialOptions& options, std::function<void(Result<std::shared_ptr<Stream>>)> done);

struct UpgradeRequest {
  DialOptions to;
  std::string method = "POST", target = "/";
  Headers headers = {};  // with Upgrade; Connection and Host are added
};
/// As dial(), once the peer has answered 101; kUnavailable with the peer's words when it answers anything else.
void upgrade(UvLoop& loop, UpgradeRequest request, std::function<void(Result<std::shared_ptr<Stream>>)> done);

}  // namespace gantry::http
