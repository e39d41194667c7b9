// A connection to a cluster over its bus, for programs that do one thing after another. One thread.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "libs/base/result.h"
#include "libs/base/uv_loop.h"
#include "libs/bus/command.h"

namespace gantry::client {

/// Defaults come from the dev cluster in `dir`.
struct ConnectOptions {
  std::string dir = ".gantry";
  std::string nats_url = "tls://172.30.0.1:4222";
  std::string nats_ca;     // <dir>/pki/ca.crt
  std::string nats_creds;  // <dir>/creds/<identity>.creds
  std::string identity = "admin";
  int timeout_seconds = 10;  // to connect, and for each command
};

class Gateway {
 public:
  /// kUnavailable when the bus cannot be reached or refuses the credentials.
  static Result<std::unique_ptr<Gateway>> connect(const ConnectOptions& options);
  ~Gateway();
  Gateway(const Gateway&) = delete;
  Gateway& operator=(const Gateway&) = delete;

  /// Sends and waits for the outcome.
  Result<bus::CommandOutcome> send(bus::Command command);
  /// As send(), with the answer as a JSON tree.
  Result<nlohmann::json> ask(bus::Command command);

  UvLoop& loop() { return *loop_; }
  bus::Bus& bus() { return *bus_; }

 private:
  Gateway();
  std::unique_ptr<UvLoop> loop_;
  std::unique_ptr<bus::Bus> bus_;
  std::unique_ptr<bus::Commands> commands_;
  Duration timeout_{};
};

/// "Error from server (NotFound): pods "x" not found", as kubectl says it.
std::string server_error(const Error& error);

}  // namespace gantry::client
