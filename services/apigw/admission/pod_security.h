// The Pod Security Standards: what a pod must not do at each level. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "schemas/api/core_v1_generated.h"

namespace gantry::apigw {

enum class SecurityLevel : uint8_t { kPrivileged, kBaseline, kRestricted };

/// What violates the level, in the API server's words: `privileged (container "c" must not set ...)`.

std::vector<std::string> security_violations(SecurityLevel level, const api::core_v1::PodSpec& spec);

}  // namespace gantry::apigw
