// EndpointSlices and Endpoints that say what `EndpointGroups` say, with as few writes as possible. Pure functions.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "libs/model/object.h"
#include "services/controllers/endpointslice/endpoints.h"
#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

inline constexpr const char* kServiceName = "kubernetes.io/service-name";
inline constexpr const char* kManagedBy = "endpointslice.kubernetes.io/managed-by";
inline constexpr const char* kManager = "endpointslice-controller.k8s.io";
inline constexpr const char* kMirror = "endpointslicemirroring-controller.k8s.io";
inline constexpr size_t kMaxEndpoints = 100;

/// Whose slices they are: a Service's, or those that mirror Endpoints.
struct SliceOwner {
  const model::Object& object;
  std::string kind;
  std::map<std::string, std::string> labels;  // of each slice
  std::string address_type = "IPv4";
  bool keep_one = true;  // an empty slice says that there are no endpoints
};
std::map<std::string, std::string> slice_labels(const model::Object& service);
std::map<std::string, std::string> mirror_labels(const model::Object& endpoints);

/// Endpoints stay in the slice that they are in; new ones fill slices that have room. `slices`: those of the owner
/// that we manage and of its address type, by name.
void plan_slices(const SliceOwner& owner, const EndpointGroups& groups, const std::vector<model::Object>& slices,
                 Decision& decision);
/// The older form, for old clients. `current` may be null.
void plan_endpoints(const model::Object& service, const EndpointGroups& groups, const model::Object* current,
                    Decision& decision);

}  // namespace gantry::controllers
