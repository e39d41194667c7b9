// The options of a write that make sense only together: field manager, force, validation. Pure.
#pragma once

#include "services/apigw/core/plan.h"

namespace gantry::apigw {

/// kInvalid, `PatchOptions.meta.k8s.io "" is invalid: ...`.
Status check_options(const Request& request);

}  // namespace gantry::apigw
