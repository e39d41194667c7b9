// How the API serves a kind, beside what it looks like (schema.h): under which path and verbs, and what is stored for
// it. Read once from the embedded schema; immutable, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libs/model/schema.h"

namespace gantry::model {

struct Served {
  std::vector<std::string> verbs;  // of the resource, sorted
  std::string refuses;             // why none can be created; empty: they can
  bool is_virtual = false;  // nothing is stored: creating one asks a question (reviews), or reading makes it (metrics)
  /// The kind whose objects are stored for this one: itself, or the same in another group or version, from and to which
  /// the gateway converts. Null: nothing is stored.
  const Kind* storage = nullptr;
  /// The resource's name among all: `pods`, or `resource.version.group` where another kind is stored for this one or
  /// has the name.
  std::string token;

  bool has_verb(std::string_view verb) const;
};

/// Of any kind of the schema.
const Served& served(const Kind& kind);
/// Objects of this very kind are stored: it has a resource, a projection and events.
inline bool stored(const Kind& kind) { return served(kind).storage == &kind; }

/// A kind that has a resource, by its token; null: there is none.
const Kind* kind_by_token(std::string_view token);
/// A kind that has a resource, by where its path is; null: there is none.
const Kind* kind_by_path(std::string_view group, std::string_view version, std::string_view resource);

}  // namespace gantry::model
