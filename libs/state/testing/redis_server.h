// A real redis-server of a test's own: on a unix socket in a fresh directory, with the durability of production.
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace gantry::state::testing {

/// Blocking; stops its server and removes its directory at the end.
class RedisServer {
 public:
  /// `arguments` are appended to the command line. Fails the test when the server does not answer in time.
  explicit RedisServer(std::vector<std::string> arguments = {});
  ~RedisServer();
  RedisServer(const RedisServer&) = delete;
  RedisServer& operator=(const RedisServer&) = delete;

  std::string address() const { return "unix:" + socket(); }
  std::string socket() const { return directory_ + "/redis.sock"; }
  const std::string& directory() const { return directory_; }
  int port() const { return port_; }  // of the loopback, for replicas

  void start();
  void kill();              // SIGKILL
  void tear(size_t bytes);  // cuts the end of its append-only file, as a kill in the middle of a write does
  void pause();             // SIGSTOP
  void resume();            // SIGCONT
  /// One command; what redis-cli would print for a status, integer or string, elements joined by a space.
  std::string command(const std::vector<std::string>& words);
  /// Turns the server into a replica of `master`, and waits until it has caught up.
  void replicate(const RedisServer& master);

 private:
  std::string directory_;
  std::vector<std::string> arguments_;
  int port_ = 0;
  pid_t pid_ = -1;
};

}  // namespace gantry::state::testing
