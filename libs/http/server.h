// An HTTP server on a UvLoop: HTTP/1.1 and, with TLS, HTTP/2 by ALPN (without TLS by prior knowledge). Several servers
// may share a loop and a handler.
//
//   Server server(loop, {.listen = "127.0.0.1:0"}, [](Request request, std::shared_ptr<Responder> responder) {
//     responder->send(200, {{"Content-Type", "text/plain"}}, "hello");
//   });
//   if (Status started = server.start(); !started) ...
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "libs/base/result.h"
#include "libs/base/uv_loop.h"
#include "libs/http/message.h"
#include "libs/http/responder.h"

namespace gantry::http {

/// Called once for every complete request, on the loop's thread. Must not block; keep `responder` to answer later.
using Handler = std::function<void(Request request, std::shared_ptr<Responder> responder)>;

struct ServerOptions {
  std::string listen = "127.0.0.1:0";  // host:port or [v6]:port; the host is a numeric address or "localhost", empty is
                                       // any; port 0 lets the system choose
  std::string tls_cert_file = {};      // PEM chain; with it and the key the server speaks TLS only
  std::string tls_key_file = {};
  std::string client_ca_file =
      {};  // PEM; a client may present a certificate, and one that this does not sign fails the handshake

  size_t max_header_bytes = 64 * 1024;              // request line and headers, 431 beyond
  size_t max_body_bytes = 3 * 1024 * 1024 + 65536;  // 413 beyond
  size_t max_receiving_bytes =
      256 * 1024 * 1024;  // of requests, all connections together, from their headers to their answer: 503 beyond
  size_t max_held_bytes = 256 * 1024 * 1024;  // answers that HTTP/2 clients do not take, all connections together, ...
  size_t max_held_of_connection = 64 * 1024 * 1024;  // ... and of one: 503 to whoever asks for more without taking
  size_t max_websocket_message = 4 * 1024 * 1024;    // close code 1009 beyond
  size_t max_connections = 16384;                    // accepted and closed at once beyond
  uint32_t max_streams = 250;                        // concurrent requests of an HTTP/2 connection

  std::chrono::milliseconds header_timeout{
      10'000};  // from connecting, or from a request's first byte, to the end of its headers
  std::chrono::milliseconds body_timeout{60'000};   // from the end of the headers to the end of the body
  std::chrono::milliseconds idle_timeout{180'000};  // a connection without a request
  std::chrono::milliseconds write_timeout{60'000};  // output waits and the peer takes none of it
  std::chrono::milliseconds drain_timeout{10'000};  // how long drain() waits for requests in flight

  /// Body and Content-Type of the answers that the server gives itself (400, 408, 413, 431, 500, 503): text/plain
  /// unless set.
  std::function<std::pair<std::string, std::string>(int status, std::string_view message)> render_error = {};
};

struct ServerStats {
  size_t connections = 0;  // open now
  size_t active = 0;       // requests handed to the handler and not answered in full
  uint64_t accepted = 0;   // connections since the start
  uint64_t requests = 0;   // handed to the handler since the start
  uint64_t refused = 0;    // answered or closed by the server itself: malformed, too large, too slow, too many
  uint64_t handshake_failures = 0;
};

/// Loop's thread only. Destroying it closes everything at once, without callbacks; Responders that outlive it have no
/// effect. The loop outlives the server.
class Server {
 public:
  Server(UvLoop& loop, ServerOptions options, Handler handler);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Loads certificates, binds and listens. kInvalid names the file or address at fault.
  Status start();
  /// The port in use, once started.
  uint16_t port() const;
  /// Reads the certificate files again for new connections; on an error the old ones stay.
  Status reload_certificates();
  /// Stops accepting, tells clients (GOAWAY, Connection: close), ends endless streams, lets the rest finish within
  /// drain_timeout, then closes; `done` runs once when no connection is left.
  void drain(std::function<void()> done);
  ServerStats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gantry::http
