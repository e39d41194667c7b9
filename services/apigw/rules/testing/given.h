// Objects as rules get them, and what rules say of them, for tests.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "services/apigw/rules/rules.h"

namespace gantry::apigw::testing {

/// The object with its defaults; named `web`, in `default`, where the JSON does not say.
model::Object given_object(const std::string& resource, nlohmann::json json);
/// "field: message" of each cause.
std::vector<std::string> lines(const Problems& problems);

}  // namespace gantry::apigw::testing
