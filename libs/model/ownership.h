// Which fields of an object somebody has set or changed, and how an applied configuration is merged into an object:
// what server-side apply needs of the schema (list types, map keys, atomic structs). Pure functions, thread-safe.
#pragma once

#include <nlohmann/json.hpp>

#include "libs/base/result.h"
#include "libs/model/field_set.h"
#include "libs/model/object.h"

namespace gantry::model {

/// What changed between two versions of an object, path by path. A struct, map, list or element that came or went is
/// in the set itself, with everything below it.
struct FieldChanges {
  FieldSet added, modified, removed;
  bool empty() const { return added.empty() && modified.empty() && removed.empty(); }
};

/// `before` may be null: everything was added.
FieldChanges field_changes(const Type& type, const flatbuffers::Table* before, const flatbuffers::Table* after);

/// The fields that an applied configuration names, as JSON: leaves, and elements of lists. kBadRequest, in the API's
/// words, for elements without their keys and for two with the same.
Result<FieldSet> applied_fields(const Type& type, const nlohmann::json& configuration);

/// `live` with the configuration merged into it: structs and maps field by field, lists by their keys, everything else
/// replaced.
nlohmann::json merge_applied(const Type& type, nlohmann::json live, const nlohmann::json& configuration);

/// Takes out of `merged` what its manager has applied before (`last`) and nobody owns any more (`owned`: the fields of
/// all managers, with the new ones of this manager).
void prune_applied(const Type& type, nlohmann::json& merged, const FieldSet& last, const FieldSet& owned);

}  // namespace gantry::model
