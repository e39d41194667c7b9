// Which container on which node a log or exec request means. Shared by both.
#pragma once

#include <functional>

#include "libs/bus/session.h"
#include "services/apigw/core/api.h"
#include "services/apigw/rest/route.h"

namespace gantry::apigw {

struct PodTarget {
  std::string node;
  bus::SessionRequest request;  // ns, pod, uid and container are filled in
};

/// Authorizes `verb` on pods/<subresource>, reads the pod as of now and picks the container. Errors in the API server's
/// words.
void find_pod_target(Api& api, const Identity& identity, const Route& route, const std::string& verb,
                     const std::string& container, std::function<void(Result<PodTarget>)> done);

}  // namespace gantry::apigw
