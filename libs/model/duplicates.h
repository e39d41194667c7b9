// Keys that a JSON text says twice. Parsers into trees keep the last of them without a word; a patch says them to its
// author. Pure function, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace gantry::model {

/// Paths of the keys, each once, as they are found: `spec.containers[0].name`. What is no JSON has none behind the
/// error.
std::vector<std::string> duplicate_keys(std::string_view json);

}  // namespace gantry::model
