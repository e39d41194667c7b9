// Puts back what a default role or binding lacks in the cluster. Pure.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>

namespace gantry::apigw {

/// `there` with what only `wanted` has: rules, subjects, aggregation, labels. nullopt when nothing is missing, or when
/// the object is not to be updated. Both as JSON objects of the same kind.
std::optional<nlohmann::json> mend_default(const nlohmann::json& there, const nlohmann::json& wanted);

}  // namespace gantry::apigw
