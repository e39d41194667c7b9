// A small HTTP/1.1 client on a UvLoop, for probes, tools and tests: a connection for each call, no redirects, no
// proxies.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>

#include "libs/base/result.h"
#include "libs/base/uv_loop.h"
#include "libs/http/message.h"

namespace gantry::http {

struct ClientOptions {
  std::string ca_file = {};    // PEM; the system's authorities when empty
  std::string cert_file = {};  // client certificate, PEM, with key_file
  std::string key_file = {};
  bool insecure_skip_verify = false;  // accept any server certificate: HTTPS probes only
};

struct ClientRequest {
  std::string method = "GET";
  std::string url;  // http://host:port/path?query or https://...; the host may be a name
  Headers headers = {};
  std::string body = {};
  std::chrono::milliseconds deadline{30'000};  // for the whole call; zero: none (a watch)
  size_t max_body_bytes = 64 * 1024 * 1024;    // of a collected response body
  /// With it the body arrives here in pieces and Response.body stays empty.
  std::function<void(std::string_view)> on_data = {};
  /// Status and headers, before any body.
  std::function<void(int status, const Headers&)> on_head = {};
};

struct Response {
  int status = 0;
  Headers headers;
  std::string body;
};

/// One call under way. Destroying it cancels: no callback runs after.
class Call {
 public:
  virtual ~Call() = default;
};

/// Loop's thread only. The loop outlives the client, the client may go before its calls.
class Client {
 public:
  /// kInvalid names a certificate file that cannot be used.
  static Result<std::shared_ptr<Client>> create(UvLoop& loop, const ClientOptions& options);
  virtual ~Client() = default;

  /// `done` runs once from the loop: the response with any status, or kInvalid (URL), kUnavailable (nothing was sent),
  /// kTimeout (deadline), kUnknownOutcome (broken off after sending).
  [[nodiscard]] virtual std::shared_ptr<Call> call(ClientRequest request,
                                                   std::function<void(Result<Response>)> done) = 0;
};

}  // namespace gantry::http
