// What an API server can do, measured from outside over HTTPS: against a control plane of Gantry's own, or any
// Kubernetes.
#pragma once

#include <string>

#include "libs/base/result.h"
#include "tools/load/cluster.h"

namespace gantry::load {

struct ApiOptions {
  ClusterOptions cluster;  // started when no server is named
  std::string server, ca, certificate, key;
  int pid = 0;  // of the server, to read its memory; a plane's own is known
  int pods = 10'000, connections = 4, concurrency = 64, seconds = 5;
  int watchers = 1'000, streams = 1, events = 20;  // streams: watches on one connection; events: a second
};

/// Creates, gets, lists, pages and watches; prints a Markdown table. Everything is in a namespace of its own, which
/// goes at the end.
Status run_api(const ApiOptions& options);

}  // namespace gantry::load
