// The patches of the API on JSON trees. Pure functions, thread-safe.
#pragma once

#include <nlohmann/json.hpp>

#include "libs/base/result.h"
#include "libs/model/schema.h"

namespace gantry::model {

/// RFC 7386.
Result<nlohmann::json> merge_patch(nlohmann::json target, const nlohmann::json& patch);
/// RFC 6902.
Result<nlohmann::json> json_patch(nlohmann::json target, const nlohmann::json& patch);
/// Strategic merge patch with the schema's merge keys; $patch (replace, delete, merge), $retainKeys,
/// $deleteFromPrimitiveList/<field>, $setElementOrder/<field>.
Result<nlohmann::json> strategic_merge_patch(nlohmann::json target, const nlohmann::json& patch, const Type& type);

}  // namespace gantry::model
