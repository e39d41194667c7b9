// What a schema promises to those who hold older data or older readers, as text: one line for each field and each enum
// value. Fields and values only ever get added, so a schema conforms to a release if it still has every line of it.
// (`flatc --conform` is weaker: it lets a field be deleted.) schemas/released.txt is the last release's shape.
#pragma once

#include <flatbuffers/reflection_generated.h>

#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::schemas {

/// Full name of a field, enum value, table or enum -> what must not change about it: id, type, default, offset.
using Shape = std::map<std::string, std::string, std::less<>>;

Shape shape_of(const reflection::Schema& schema);
/// The schemas that this program was built from.
Shape current_shape();

/// One `name: what` a line; `#` begins a comment. Lines that are neither are an entry with an empty value.
Shape read_shape(std::string_view text);
std::string write_shape(const Shape& shape);

/// What a holder of `released` would stumble over in `now`, one sentence each. Empty: compatible.
std::vector<std::string> breaks(const Shape& released, const Shape& now);

}  // namespace gantry::schemas
