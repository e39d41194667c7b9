// The fixture of the server's tests: a loop, certificates, and a server whose handler knows a few paths.
#pragma once

#include <gtest/gtest.h>

#include "libs/http/client.h"
#include "libs/http/server.h"
#include "libs/http/testing/certs.h"
#include "libs/http/testing/on_loop.h"
#include "libs/http/testing/raw_connection.h"

namespace gantry::http::testing {

class ServerTest : public ::testing::Test {
 protected:
  ServerTest();
  ~ServerTest() override;

  /// Starts the server; call once, after changing `options`.
  void serve(bool tls);
  /// Paths: /hello, /echo (method, version, body size and hash...), /who, /stream?n=&size=, and those in `routes`.
  void handle(Request request, std::shared_ptr<Responder> responder);

  std::string url(const std::string& path) const;
  /// curl with --silent, the CA and these arguments; the last one is a path.
  Finished curl(std::vector<std::string> arguments);
  /// Calls with the library's own client and waits.
  Result<Response> call(ClientRequest request);
  bool wait(const std::function<bool()>& done) { return run_until(loop, done); }

  TempDir dir;
  UvLoop loop;
  TestCa ca{dir.path()};
  CertFiles server_cert = ca.server();
  ServerOptions options;
  std::unique_ptr<Server> server;
  bool tls_on = false;
  std::map<std::string, Handler> routes;
  std::vector<Request> seen;  // without bodies
};

}  // namespace gantry::http::testing
