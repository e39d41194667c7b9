// Pod templates by meaning: equality and the hash that names ReplicaSets. Pure functions.
#pragma once

#include <string>

#include "schemas/api/core_v1_generated.h"

namespace gantry::controllers {

inline constexpr const char* kTemplateHash = "pod-template-hash";

/// Same content apart from the label pod-template-hash.
bool same_template(const api::core_v1::PodTemplateSpec* a, const api::core_v1::PodTemplateSpec* b);
/// Of the content (not of the FlatBuffer's layout) and the collision count, as it stands in names and labels.
std::string template_hash(const api::core_v1::PodTemplateSpec* pod_template, int32_t collisions);

}  // namespace gantry::controllers
