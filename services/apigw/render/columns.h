// The computed cells of Tables, by the names that the schemas' `columns` attributes use (@pod_status). Internal to
// render.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <unordered_map>

#include "libs/base/loop.h"
#include "libs/model/object.h"

namespace gantry::apigw {

using ColumnFunction = nlohmann::json (*)(const model::Object& object, WallMicros now);

/// nullptr for a name that nothing computes.
ColumnFunction find_column(std::string_view name);

/// By the functions' names: workload_columns.cc, storage_columns.cc, policy_columns.cc.
using Columns = std::unordered_map<std::string_view, ColumnFunction>;
const Columns& workload_columns();
const Columns& storage_columns();
const Columns& policy_columns();

/// The kind whose columns a kind's Table has: what is stored for it.
const model::Kind& table_kind(const model::Kind& kind);

/// A cell of a column that reads a path: numbers and bools as such.
nlohmann::json typed_cell(const model::Column& column, std::string text);

/// `a=b,c=d`, or <none>.
std::string join_labels(const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* labels);
/// Time since `seconds` as a user reads it, <unknown> when absent.
std::string since(flatbuffers::Optional<int64_t> seconds, WallMicros now);

namespace columns {
using nlohmann::json;
json pod_ready(const model::Object&, WallMicros);
json pod_status(const model::Object&, WallMicros);
json pod_restarts(const model::Object&, WallMicros);
json pod_readiness_gates(const model::Object&, WallMicros);
}  // namespace columns

}  // namespace gantry::apigw
