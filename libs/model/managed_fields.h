// metadata.managedFields: who owns which fields of an object, and how a write moves them. Pure functions, thread-safe.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libs/model/draft.h"
#include "libs/model/ownership.h"

namespace gantry::model {

/// One writer with what it owns. Writers are told apart by everything but the time and the fields; appliers also not by
/// the version.
struct ManagedEntry {
  std::string manager;
  bool applied = false;  // operation Apply, else Update
  std::string api_version, subresource;
  std::optional<int64_t> time;  // unix seconds
  FieldSet fields;

  bool same_writer(const ManagedEntry& other) const;
  bool operator==(const ManagedEntry& other) const;
};
using ManagedFields = std::vector<ManagedEntry>;

/// kBadRequest for entries that are none: an unknown operation or fieldsType, fields that are no FieldsV1.
Result<ManagedFields> read_managed_fields(const Object& object);
bool has_managed_fields(const Object& object);
bool same_managed_fields(const Object& a, const Object& b);
/// True for [{}], with which a client asks that nothing is tracked any more.
bool is_reset(const Object& object);
/// In the order of the API: appliers first, then by time and name. An empty list clears the field.
void write_managed_fields(Draft& draft, ManagedFields entries);

/// Takes out what nobody can own: name, namespace, uid, resourceVersion, ...
void strip_unowned(FieldSet& fields);
/// A new object is all its writer's.
FieldSet all_fields(const Type& type, const flatbuffers::Table* object);

/// `writer` has changed an object in these ways: it owns what it added and modified, and nobody owns what was removed.
/// True if any entry is different now.
bool note_update(ManagedFields& entries, const FieldChanges& changes, const ManagedEntry& writer);

/// A field that somebody else owns and the writer wants to have otherwise.
struct FieldConflict {
  ManagedEntry owner;  // without fields
  std::string path;    // .spec.replicas
  FieldSet fields;     // just this one
};
/// What `changes` take away from others than `applier`.
std::vector<FieldConflict> conflicts_of(const ManagedFields& entries, const FieldChanges& changes,
                                        const ManagedEntry& applier);
/// 409 in the API's words.
Error conflict_error(const std::vector<FieldConflict>& conflicts);

/// `applier` now owns just its `fields`; what has changed is taken from the others. Its time moves only with its
/// fields: touch() when the object has changed. True if any entry is different now.
bool note_apply(ManagedFields& entries, const FieldChanges& changes, const ManagedEntry& applier);
/// The writer's entry gets the writer's time.
void touch(ManagedFields& entries, const ManagedEntry& writer);

}  // namespace gantry::model
