// The least that each kind asks for.
#pragma once

#include <map>
#include <string>

namespace gantry::apigw::testing {

/// JSON of an object of each kind that can be created, by resource: without apiVersion, kind and, as a rule, metadata.
const std::map<std::string, std::string>& minimal_objects();

/// What has to be there before an object of `resource` can be made: where it is posted, and its JSON.
const std::map<std::string, std::pair<std::string, std::string>>& needed_objects();

}  // namespace gantry::apigw::testing
