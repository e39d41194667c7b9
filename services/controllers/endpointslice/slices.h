// EndpointSlices and Endpoints that say what `EndpointGroups` say, with as few writes as possible. Pure functions.
#pragma once

#include <vector>

#include "libs/model/object.h"
#include "services/controllers/endpointslice/endpoints.h"
#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

inline constexpr const char* kServiceName = "kubernetes.io/service-name";
inline constexpr const char* kManagedBy = "endpointslice.kubernetes.io/managed-by";
inline constexpr const char* kManager = "endpointslice-controller.k8s.io";
inline constexpr size_t kMaxEndpoints = 100;

/// Endpoints stay in the slice that they are in; new ones fill slices that have room. `slices`: those of the Service
/// that we manage, by name.
void plan_slices(const model::Object& service, const EndpointGroups& groups, const std::vector<model::Object>& slices,
                 Decision& decision);
/// The older form, for old clients. `current` may be null.
void plan_endpoints(const model::Object& service, const EndpointGroups& groups, const model::Object* current,
                    Decision& decision);

}  // namespace gantry::controllers
