#include "libs/http/testing/test_server.h"

namespace gantry::http::testing {
namespace {

/// Writes n pieces of `size` bytes as fast as the client takes them.
void pump(const std::shared_ptr<Responder>& responder, int n, size_t size, int from = 0) {
  for (int i = from; i < n; ++i) {
    if (responder->buffered() > kHighWater) {
      return responder->on_drained([responder, n, size, i] { pump(responder, n, size, i); });
    }
    std::string piece = fmt::format("event {}", i);
    piece.resize(size - 1, '.');
    responder->write(piece + "\n");
  }
  responder->end();
}

}  // namespace

ServerTest::ServerTest() { options.client_ca_file = ca.ca_file(); }

ServerTest::~ServerTest() { server.reset(); }

void ServerTest::serve(bool tls) {
  tls_on = tls;
  if (tls) {
    options.tls_cert_file = server_cert.cert;
    options.tls_key_file = server_cert.key;
  }
  server = std::make_unique<Server>(loop, options, [this](Request request, std::shared_ptr<Responder> responder) {
    handle(std::move(request), std::move(responder));
  });
  Status started = server->start();
  ASSERT_TRUE(started.ok()) << started.error().message;
  ASSERT_NE(server->port(), 0);
}

void ServerTest::handle(Request request, std::shared_ptr<Responder> responder) {
  std::string body = std::exchange(request.body, {});
  seen.push_back(request);
  request.body = std::move(body);
  Headers text{{"Content-Type", "text/plain"}};
  if (auto route = routes.find(request.path); route != routes.end()) {
    route->second(std::move(request), std::move(responder));
  } else if (request.path == "/hello") {
    responder->send(200, text, "hello\n");
  } else if (request.path == "/echo") {
    responder->send(200, text, std::move(request.body));
  } else if (request.path == "/size") {
    responder->send(200, text, fmt::format("{} {}\n", request.method, request.body.size()));
  } else if (request.path == "/who") {
    std::string who = "anonymous";
    if (request.peer)
      who = fmt::format("{}:{}", request.peer->common_name, fmt::join(request.peer->organizations, ","));
    responder->send(200, text, who);
  } else if (request.path == "/stream") {
    responder->start(200, text);
    pump(responder, std::stoi(std::string(request.query.get("n"))), std::stoul(std::string(request.query.get("size"))));
  } else {
    responder->send(404, text, "no such path\n");
  }
}

std::string ServerTest::url(const std::string& path) const {
  return fmt::format("{}://127.0.0.1:{}{}", tls_on ? "https" : "http", server->port(), path);
}

Finished ServerTest::curl(std::vector<std::string> arguments) {
  std::vector<std::string> argv{"curl", "--silent", "--max-time", "25", "--noproxy", "*", "--cacert", ca.ca_file()};
  std::string path = arguments.back();
  arguments.pop_back();
  argv.insert(argv.end(), arguments.begin(), arguments.end());
  argv.push_back(url(path));
  return run_process(loop, std::move(argv));
}

Result<Response> ServerTest::call(ClientRequest request) {
  auto client = Client::create(loop, {.ca_file = ca.ca_file()});
  if (!client) return client.error();
  std::optional<Result<Response>> result;
  auto call = (*client)->call(std::move(request), [&](Result<Response> answer) { result.emplace(std::move(answer)); });
  run_until(loop, [&] { return result.has_value(); });
  if (!result) return Error{Code::kTimeout, "the test's deadline passed"};
  return std::move(*result);
}

}  // namespace gantry::http::testing
