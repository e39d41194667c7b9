// Rules that need no code: defaults, checks and immutable fields of every kind as tables of paths (tables.cc). `[*]` in
// a path stands for each element. What involves more than one field is in the validate_*.cc of its kind.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "libs/model/draft.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {

void default_by_table(model::Draft& draft, const model::Object& given);
void validate_by_table(const model::Object& object, Problems& problems);
void validate_update_by_table(const model::Object& now, const model::Object& before, Problems& problems);

/// Paths of the tables that their kinds do not have: none.
std::vector<std::string> unknown_paths();

/// Calls `visit` with each concrete path; the last step need not be present, what stands before it must.
void each_path(const model::Object& object, std::string_view path,
               const std::function<void(const std::string&)>& visit);

/// "" or what is wrong.
std::string check_cidr(std::string_view cidr);
std::string check_schedule(std::string_view schedule);

}  // namespace gantry::apigw
