// A value of an object by its JSON path: what field selectors, table columns and field references read. Pure functions,
// thread-safe.
//
//   text_at(pod, ".spec.nodeName")                 "node-1"
//   text_at(pod, "metadata.labels['app']")         "web"
//   text_at(pod, "spec.containers[0].image")       "demo:2"
#pragma once

#include <string>
#include <string_view>

#include "libs/model/object.h"

namespace gantry::model {

/// Where a path leads. Valid as long as the object's bytes.
struct Found {
  const Field* field = nullptr;                // null: the type has no such path
  const flatbuffers::Table* parent = nullptr;  // the table that has the field; null: something on the way is absent
  int64_t index = -1;                          // of the element, when the path ends at one

  bool known() const { return field != nullptr; }
  /// The value is there. A zero that means absent is not (has no pointer in Go's types).
  bool present() const;
  /// "" when absent. Numbers, bools and times as JSON has them without quotes; structs, lists and maps as JSON.
  std::string text() const;
  /// The struct that the path leads to; null when absent or no struct.
  const flatbuffers::Table* table() const;
};

/// `path` may begin with a dot. [n] is a list's element, [key] or ['key'] a map's value.
Found find(const Type& type, const flatbuffers::Table* root, std::string_view path);
inline Found find(const Object& object, std::string_view path) {
  return find(*object.kind().type, object.root(), path);
}

inline std::string text_at(const Object& object, std::string_view path) { return find(object, path).text(); }

}  // namespace gantry::model
