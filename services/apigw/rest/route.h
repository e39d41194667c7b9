// What a path and a method of the Kubernetes API mean. Pure, thread-safe.
#pragma once

#include <optional>
#include <string>

#include "libs/http/message.h"
#include "libs/model/schema.h"

namespace gantry::apigw {

struct Route {
  enum class Target : uint8_t {
    kResource,   // an object or a collection of `kind`
    kRoot,       // /api, /apis: group lists
    kGroup,      // /apis/<group>
    kResources,  // /api/v1, /apis/<group>/<version>
    kVersion,    // /version
    kHealth,     // /livez, /readyz, /healthz
    kOpenApi,    // /openapi/...
    kNone,       // 404
  };
  Target target = Target::kNone;
  const model::Kind* kind = nullptr;
  std::string group, version;  // kGroup, kResources
  std::string ns, name, subresource;
  std::string rest;              // of the path after the subresource (proxy), or the path itself for others
  std::string unknown_resource;  // kNone because of a resource that no group has
  bool core = false;             // below /api
  /// get, list, watch, create, update, patch, delete, deletecollection, or "" where the resource does not allow the
  /// method; for what is not a resource the method in lower case.
  std::string verb;
};

Route find_route(const http::Request& request);

/// Groups in the order that discovery lists them; "" is the core group.
std::vector<std::string> api_groups();

}  // namespace gantry::apigw
