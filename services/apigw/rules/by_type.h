// Rules that belong to a type wherever it stands (a container's port in a Pod and in a CronJob's template alike). From
// the schema: defaults (`default_value`), enums (`enum_values`), what must be there (`mandatory`). From the tables of
// fields.cc: ranges and formats of single fields. From types_*.cc: programs, for what involves several fields.
// One walk over the object, by a plan made once for each type. `metadata` and `status` are left out: they have their
// own rules or none. What comes from the schema or a table is said only where a program has not already spoken of the
// field. Pure functions, thread-safe.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "libs/model/draft.h"
#include "services/apigw/rules/checks.h"

namespace gantry::apigw {

/// `type` without "gantry.api.": core_v1.PodSpec. Each element of a list is checked; kRequired is for the whole list.
struct FieldRule {
  std::string_view type, field;
  Is is;
  std::string_view words = {};
};

/// What a rule of several fields finds in a struct that stands at `at`. An absent struct that the API always has is
/// given as an empty one.
struct Program {
  std::string_view type;
  void (*check)(const flatbuffers::Table* value, const std::string& at, Problems& problems);
};

std::span<const FieldRule> field_rules();     // fields.cc
std::span<const Program> core_programs();     // types_core.cc
std::span<const Program> batch_programs();    // types_batch.cc
std::span<const Program> network_programs();  // types_network.cc
std::span<const Program> access_programs();   // types_access.cc
std::span<const Program> other_programs();    // types_other.cc
std::span<const Program> device_programs();   // types_devices.cc

void default_by_type(model::Draft& draft, const model::Object& given);
void validate_by_type(const model::Object& object, Problems& problems);

/// Rows and programs whose type or field does not exist: none.
std::vector<std::string> unknown_types();

}  // namespace gantry::apigw
