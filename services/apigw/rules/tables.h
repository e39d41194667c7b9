// Rules that need no code and belong to a kind, as tables of paths (tables.cc): defaults that the same type has not
// elsewhere, and fields that may not change. `[*]` in a path stands for each element.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "libs/model/draft.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {

void default_by_table(model::Draft& draft, const model::Object& given);
void validate_update_by_table(const model::Object& now, const model::Object& before, Problems& problems);

/// Paths of the tables that their kinds do not have: none.
std::vector<std::string> unknown_paths();

/// Calls `visit` with each concrete path; the last step need not be present, what stands before it must.
void each_path(const model::Object& object, std::string_view path,
               const std::function<void(const std::string&)>& visit);

/// Writes a default as the schema and the tables spell it: numbers and bools as text.
void set_default(model::Draft& draft, const model::Field& field, const std::string& at, std::string_view value);

}  // namespace gantry::apigw
