// Bringing a dev cluster up and down.
#pragma once

#include "libs/base/result.h"
#include "tools/gantry/dev/config.h"

namespace gantry::dev {

struct UpOptions {
  Cluster cluster;
  int timeout_seconds = 120;
};
/// Makes what is missing, starts the supervisor if none runs, waits until every component is ready and the images are
/// in. Prints progress. On a cluster that is up and unchanged it changes nothing.
Status up(const Paths& paths, const UpOptions& options);

/// Stops everything and checks that nothing is left; with `purge`, forgets the state too.
Status down(const Paths& paths, bool purge);

/// The supervisor's process: returns when it is told to stop.
Status supervise(const Paths& paths);

}  // namespace gantry::dev
