// What the API offers, made from the schemas: group lists, resource lists, aggregated discovery.
// Pure, thread-safe.
#pragma once

#include <string>

#include "services/apigw/rest/route.h"

namespace gantry::apigw {

inline constexpr const char* kAggregatedContentType =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// `aggregated`: the client accepts APIGroupDiscoveryList. Only for kRoot; other documents have one form.
std::string root_document(bool core, bool aggregated, const std::string& server_address);
std::string group_document(const std::string& group);
std::string resources_document(const std::string& group, const std::string& version);
std::string version_document();

}  // namespace gantry::apigw
