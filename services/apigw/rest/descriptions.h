// The words of descriptions.cc, in parts. Internal to this folder.
#pragma once

#include <string_view>
#include <unordered_map>

namespace gantry::apigw::openapi {

using Words = std::unordered_map<std::string_view, std::string_view>;

/// Of fields, by name, beside those in descriptions.cc.
const Words& more_fields();

}  // namespace gantry::apigw::openapi
