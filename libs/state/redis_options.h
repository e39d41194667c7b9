// How to reach Redis and how long to wait for it.
#pragma once

#include <chrono>
#include <cstddef>
#include <string>

namespace gantry::state {

struct RedisOptions {
  std::string address = "127.0.0.1:6379";  // unix:/path, or host:port with a numeric host
  std::string user = {};                   // ACL user; empty with a password: the default user
  std::string password = {};
  /// Commits are spread over this many pipelines: one gets only about 16 commits into an fsync.
  size_t connections = 8;
  std::chrono::milliseconds connect_timeout{3'000};
  /// A connection whose oldest command waits longer is given up, and its commits are resolved.
  std::chrono::milliseconds command_timeout{5'000};
  /// For how long a commit whose answer was lost may wait for a connection to be resolved on; then kUnknownOutcome.
  std::chrono::milliseconds resolve_timeout{10'000};
  /// Replicas that must have a commit before it is answered or read from the log; 0: none. Needs min-replicas-to-write
  /// on the server too.
  int wait_replicas = 0;
  std::chrono::milliseconds wait_timeout{1'000};
  /// Commits without an answer beyond which more are shed with kTooManyRequests.
  size_t max_in_flight = 20'000;
};

}  // namespace gantry::state
