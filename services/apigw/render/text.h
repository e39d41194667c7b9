// JSON text in other clothes. Pure functions, thread-safe.
#pragma once

#include <string>
#include <string_view>

namespace gantry::apigw {

/// Indented by two spaces, as `?pretty=true` shows it; the input is well-formed.
std::string indent_json(std::string_view json);
/// As YAML with sorted keys; "" when it is no JSON.
std::string json_to_yaml(std::string_view json);

}  // namespace gantry::apigw
