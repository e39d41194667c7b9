// Who may do what on the bus of a dev cluster: the authority that signs, a signed user for each service, node and
// operator, and the server's configuration.
#pragma once

#include "libs/base/result.h"
#include "tools/gantry/dev/config.h"

namespace gantry::dev {

/// Writes nats/server.conf and creds/<identity>.creds for apigw, controllers, scheduler, each node's two, and the
/// operator "admin". Keys are made once and kept; permissions are written anew.
Status write_bus_authority(const Paths& paths, const Cluster& cluster);

}  // namespace gantry::dev
