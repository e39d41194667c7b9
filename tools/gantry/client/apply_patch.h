// What `apply` sends: the patch that brings the live object to the file, without undoing what others have set.
#pragma once

#include <nlohmann/json.hpp>

#include "libs/model/schema.h"

namespace gantry::client {

/// The annotation that remembers what was applied last, shared with kubectl.
inline constexpr const char* kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";

/// A strategic merge patch from `live` to `wanted`: what is new or different in `wanted`, and null (or a $patch:
/// delete) for what was in `last` and is no longer. Fields that are in `live` only are left alone. An empty object:
/// nothing to do. Pure.
nlohmann::json three_way_patch(const nlohmann::json& last, const nlohmann::json& wanted, const nlohmann::json& live,
                               const model::Type* type);

}  // namespace gantry::client
