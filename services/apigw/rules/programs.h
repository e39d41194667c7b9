// Helpers of types_*.cc: typed views of the structs that a walk comes to.
#pragma once

#include <fmt/format.h>

#include "libs/model/quantity.h"
#include "schemas/api/core_v1_generated.h"
#include "services/apigw/rules/by_type.h"
#include "services/apigw/rules/kinds.h"

namespace gantry::apigw {

/// Wraps a check of a generated type as a Program's.
template <typename T, void (*Check)(const T&, const std::string&, Problems&)>
void typed(const flatbuffers::Table* value, const std::string& at, Problems& problems) {
  Check(*reinterpret_cast<const T*>(value), at, problems);
}

inline size_t count(const auto* list) { return list == nullptr ? 0 : list->size(); }

inline bool holds(const auto* list, std::string_view value) {
  for (flatbuffers::uoffset_t i = 0; i < count(list); ++i) {
    if (model::str(list->Get(i)) == value) return true;
  }
  return false;
}

/// A quantity of a resource list; not ok when it is absent or no quantity.
inline Result<model::Quantity> quantity_of(const model::Labels* list, std::string_view name) {
  const auto* text = model::lookup(list, name);
  if (text == nullptr) return Error{Code::kNotFound, "absent"};
  return model::Quantity::parse(model::str(text));
}

/// An int-or-string that must be a number or a percentage; whether it is zero or absent.
bool validate_share(const api::meta_v1::IntOrString* value, const std::string& at, bool at_most_all,
                    Problems& problems);

/// A struct as JSON, for messages. `type` as in Program.
inline std::string json_of(std::string_view type, const void* table) {
  return printed(*model::Schema::get().type("gantry.api." + std::string(type)),
                 static_cast<const flatbuffers::Table*>(table));
}

}  // namespace gantry::apigw
