// Numbers that may be given as a share: maxSurge: 25%.
#pragma once

#include <cstdint>

#include "schemas/api/meta_v1_generated.h"

namespace gantry::controllers {

/// The number as it is, or the percentage of `total`; of `fallback` (as text) where the value is absent.
int32_t resolve_percent(const api::meta_v1::IntOrString* value, int32_t total, bool round_up, const char* fallback);

}  // namespace gantry::controllers
