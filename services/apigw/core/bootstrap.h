// What every cluster has from its first moment: four namespaces and the kubernetes Service that points at the gateways.
// Any number of gateways may make it at once; what is there stays.
#pragma once

#include <functional>

#include "services/apigw/core/api.h"

namespace gantry::apigw {

/// Calls back once all of it exists; tries again on its own until then. Destroying the handle stops it.
std::shared_ptr<void> bootstrap(Loop& loop, Api& api, const ApiConfig& config, std::string service_ip,
                                std::function<void()> done);

}  // namespace gantry::apigw
