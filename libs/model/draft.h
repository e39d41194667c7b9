// Copy-with-changes: a mutable overlay on an immutable FlatBuffer, addressed by JSON paths. What was not touched is
// copied as it is.
//
//   Draft pod(*pod_kind, object);                        // or Draft pod(*pod_kind) for a new one
//   pod.set("spec.nodeName", "node-1");
//   pod.set("metadata.labels[app.kubernetes.io/name]", "web");     // a map entry: [key]
//   pod.set("spec.containers[0].image", "demo:2");                 // a list element: [index]; [+] appends
//   pod.copy("spec", *template_type, deployment.spec()->template_()->spec());   // a whole subtree of another buffer
//   pod.clear("status");
//   Object changed = pod.build();
//
// Not thread-safe; the source buffer must outlive the Draft (an Object given by value is kept alive). A path that the
// schema does not have, or a value of the wrong type, is a programming error and aborts with the path.
#pragma once

#include <deque>
#include <memory>
#include <string>
#include <string_view>

#include "libs/model/object.h"

namespace gantry::model {

class Draft {
 public:
  explicit Draft(const Kind& kind);
  explicit Draft(Object base);
  Draft(Draft&&) noexcept;
  Draft& operator=(Draft&&) noexcept;
  ~Draft();

  /// Strings (what is not UTF-8 becomes U+FFFD), bytes, quantities; also Time as RFC 3339.
  void set(std::string_view path, std::string_view value);
  void set(std::string_view path, const char* value) { set(path, std::string_view(value)); }
  void set(std::string_view path, bool value);
  void set(std::string_view path, int value) { set(path, static_cast<int64_t>(value)); }
  void set(std::string_view path, int64_t value);  // integers; Time in unix seconds, MicroTime in microseconds
  void set(std::string_view path, double value);
  /// A list or map that is present but empty, or an empty struct.
  void set_empty(std::string_view path);
  void clear(std::string_view path);
  /// Deep copy of a table of another buffer (of the field's type). Null clears.
  void copy(std::string_view path, const flatbuffers::Table* source);
  template <typename T>
  void copy(std::string_view path, const T* source) {
    copy(path, reinterpret_cast<const flatbuffers::Table*>(source));
  }
  /// Deep copy of a whole field (scalar, list, map or struct) that the same type has in another buffer, absent
  /// included. e.g. copy_field("status", other.root()) takes the other object's status.
  void copy_field(std::string_view path_of_parent, std::string_view json_field,
                  const flatbuffers::Table* source_parent);
  /// Replaces the value at `path` with JSON text decoded by the field's type.
  Status set_json(std::string_view path, std::string_view json);

  Object build(uint64_t revision = 0) const;
  Bytes bytes() const;

 private:
  struct Node;
  struct Value;
  struct Target;
  Target find(std::string_view path, bool create);
  Value& value(const Target& target, std::string_view path);

  const Kind* kind_;
  Object base_;
  std::deque<Bytes> decoded_;  // what set_json() made: its addresses stay
  std::unique_ptr<Node> root_;
};

/// True if the two mean the same: same fields present with same values, whatever the layout of the bytes. A zero that
/// Go could not tell from absent (no pointer in its types) is absent.
bool equal(const Type& type, const flatbuffers::Table* a, const flatbuffers::Table* b);

}  // namespace gantry::model
