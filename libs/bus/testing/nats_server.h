// A real nats-server for integration tests: TLS with a CA of its own, operator-mode JWTs, JetStream, on a loopback
// port, in a temporary folder.
#pragma once

#include <sys/types.h>

#include <string>

#include "libs/bus/identity.h"
#include "libs/bus/nats_bus.h"

namespace gantry::testing {

/// Started by the constructor, stopped (and its folder removed) by the destructor. Not thread-safe.
class NatsServer {
 public:
  struct Config {
    bool tls = true;
  };
  explicit NatsServer(Config config);
  NatsServer() : NatsServer(Config{}) {}
  ~NatsServer();
  NatsServer(const NatsServer&) = delete;
  NatsServer& operator=(const NatsServer&) = delete;

  /// As nothing had happened: same port, same keys, same JetStream folder. Waits until it listens.
  void start();
  void kill(int signal);  // and waits for its end
  pid_t pid() const { return pid_; }
  std::string url() const;
  /// What a NatsBus needs to connect as this identity with its role's permissions.
  bus::NatsOptions options(const std::string& identity);
  bus::NatsOptions options(const std::string& identity, const bus::Permissions& permissions);
  const std::string& folder() const { return dir_; }

 private:
  Config config_;
  std::string dir_;
  int port_ = 0;
  pid_t pid_ = -1;
  bus::Authority authority_;
};

}  // namespace gantry::testing
