// The Pod Security Standards: what a pod must not do at each level. Pure.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "schemas/api/core_v1_generated.h"

namespace gantry::apigw {

enum class SecurityLevel : uint8_t { kPrivileged, kBaseline, kRestricted };

/// The version whose checks are the newest here: Kubernetes 1.34.
inline constexpr int kLatestSecurity = 34;

/// What violates the level as it was at Kubernetes 1.`minor`, in the API server's words: `privileged (container "c"
/// must not set ...)`.
std::vector<std::string> security_violations(SecurityLevel level, int minor, const api::core_v1::PodSpec& spec);

}  // namespace gantry::apigw
