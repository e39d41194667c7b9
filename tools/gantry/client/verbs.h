// What `gantry get|apply|delete|scale|logs|exec|rollout|events|trace|why|history` do, with kubectl's words and output.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "tools/gantry/client/gateway.h"

namespace gantry::client {

/// Flags that the verbs share.
struct Options {
  ConnectOptions connect;
  std::string ns = "default";
  bool all_namespaces = false, no_headers = false, all = false, ignore_not_found = false, watch = false;
  std::string selector, field_selector, output;
  std::string at;  // of get: a moment of the past
  std::vector<std::string> files;
  std::vector<std::string> arguments;
  std::optional<int64_t> grace_period;
  std::string cascade = "background";
  bool wait = true;
  int replicas = -1;
  int timeout_seconds = 0;  // of rollout status; 0: for ever
  std::string resource;     // of events
  std::string container;    // of logs and exec
  bool follow = false, previous = false, timestamps = false;
  std::optional<int64_t> tail, since_seconds, limit_bytes;
  bool in = false, tty = false;
  std::vector<std::string> command;  // of exec: what stood after --
};

Status get(const Options& options);
Status apply(const Options& options);
Status remove(const Options& options);
Status scale(const Options& options);
Status rollout_status(const Options& options);
Status rollout_restart(const Options& options);
Status events(const Options& options);
Status trace(const Options& options);
Status why(const Options& options);
Status history(const Options& options);
/// These two return the exit code; that of exec is the command's.
Result<int> logs(const Options& options);
Result<int> exec(const Options& options);

}  // namespace gantry::client
