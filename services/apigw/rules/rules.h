// What the API adds to and demands of an object, kind by kind: defaults (defaults_*.cc), validation (validate_*.cc).
// Pure functions of the objects: what needs other objects (namespaces, allocation) is admission, in ../core.
#pragma once

#include "libs/model/draft.h"
#include "libs/model/object.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {

/// Writes into `draft`, which is based on `given`, what the API fills in when it is absent.
void set_defaults(model::Draft& draft, const model::Object& given);

/// A Service that changes its type leaves behind what only the old one had, unless the update says it anew.
void follow_type(model::Draft& draft, const model::Object& now, const model::Object& before);

/// Everything that is wrong with an object as it would be stored: metadata and the kind's own fields.
void validate(const model::Object& object, Problems& problems);

/// What may not change from `before` to `now`. `subresource` is "" for the object itself.
void validate_update(const model::Object& now, const model::Object& before, std::string_view subresource,
                     Problems& problems);

/// Whether the kind counts changes of its spec in metadata.generation.
bool has_generation(const model::Kind& kind);
/// Whether the main resource ignores `status` (the kind has the status subresource).
bool has_status(const model::Kind& kind);
/// The table in field `json_field` of the root, or null.
const flatbuffers::Table* part(const model::Object& object, std::string_view json_field);
/// True if the two objects mean the same in this field of the root.
bool same_part(const model::Object& a, const model::Object& b, std::string_view json_field);

}  // namespace gantry::apigw
