// Which container on which node a session (logs, exec) means, and whether the caller may have it. For HTTP and for
// clients on the bus alike. Loop's thread only.
#pragma once

#include <functional>

#include "libs/bus/session.h"
#include "services/apigw/core/api.h"

namespace gantry::apigw {

struct PodTarget {
  std::string node;
  bus::SessionRequest request;  // with uid and container filled in
};

/// Authorizes what `request` asks of the pod `request.ns`/`request.pod` (get pods/log, create pods/exec), reads the pod
/// as of now and picks the container if `request.container` is empty. Errors in the API server's words.
void find_pod_target(Api& api, const Identity& identity, bus::SessionRequest request,
                     std::function<void(Result<PodTarget>)> done);

}  // namespace gantry::apigw
