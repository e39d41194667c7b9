// YAML as Kubernetes reads it: each document becomes the JSON that kubectl would send. Pure functions, any thread.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"

namespace gantry::yaml {

/// The documents of a file (YAML or JSON), empty ones left out. A quoted scalar stays a string; a plain one becomes
/// what YAML 1.1 says it is. kBadRequest names the line: syntax errors, duplicate keys, keys that are not scalars.
Result<std::vector<nlohmann::json>> parse(std::string_view text);

/// Block style with sorted keys, as `kubectl -o yaml`.
std::string write(const nlohmann::json& value);

}  // namespace gantry::yaml
