// Internal to libs/model: guards for JSON trees that came from outside. nlohmann's algorithms recurse, so depth is
// checked before them.
#pragma once

#include <nlohmann/json.hpp>

namespace gantry::model {

constexpr size_t kMaxTreeDepth = 100;

/// True if `tree` is nested no deeper than `depth`. Each node visited is taken from `budget`; false when it is used up.
bool shallow(const nlohmann::json& tree, size_t depth, size_t& budget);
inline bool shallow(const nlohmann::json& tree) {
  size_t budget = SIZE_MAX;
  return shallow(tree, kMaxTreeDepth, budget);
}

}  // namespace gantry::model
