// The processes of a dev cluster, in the order in which they start.
#pragma once

#include <string>
#include <vector>

#include "tools/gantry/dev/config.h"
#include "tools/gantry/dev/probe.h"
#include "tools/gantry/dev/process.h"

namespace gantry::dev {

struct Component {
  std::string name;  // redis, nats, apigw, ..., node-1.containerd, node-1.agent, node-1.proxy
  SpawnOptions spawn;
  std::vector<std::string> after;  // names that must have been ready once before this starts
  Probe ready;
  int stop_seconds = 25;  // from SIGTERM to SIGKILL
};

Result<std::vector<Component>> components(const Paths& paths, const Cluster& cluster);

}  // namespace gantry::dev
