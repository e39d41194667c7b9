// A set of fields of an object, as FieldsV1 of metadata.managedFields writes it: a tree of path elements, each of which
// may be a member itself (".") and have others below it.
//
//   {"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{"f:ports":{"k:{\"port\":80,\"protocol\":\"TCP\"}":{}}}}
//
// An element is kept as it is written: f:<name> a struct's field or a map's key, k:<keys as JSON> an element of a list
// with keys, v:<value as JSON> an element of a set, i:<index>. Not thread-safe; values.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"

namespace gantry::model {

class FieldSet {
 public:
  struct Node;
  using Path = std::vector<std::string_view>;  // of elements

  bool empty() const { return nodes_.empty(); }
  /// The node of an element on this level; null when there is none.
  const Node* find(std::string_view element) const;
  const std::vector<Node>& nodes() const { return nodes_; }

  /// Adds (or finds) the node of an element; the pointer is valid until the next call on this level.
  Node* add(std::string_view element);
  void insert(const Path& path);
  /// Takes out the path itself, not what is below it.
  void erase(const Path& path);
  bool has(const Path& path) const;

  // Of members; what is below a member counts on its own.
  FieldSet united(const FieldSet& other) const;
  FieldSet without(const FieldSet& other) const;
  FieldSet common(const FieldSet& other) const;
  bool operator==(const FieldSet& other) const;

  /// Calls with the path of every member, in order.
  void for_each(const std::function<void(const Path&)>& visit) const;

  /// The text of FieldsV1; {} when empty.
  std::string to_json() const;
  /// kBadRequest when it is no FieldsV1.
  static Result<FieldSet> from_json(std::string_view text);

  // For builders that know what they do: appends without looking, then sort() once. Elements must differ.
  Node& append(std::string element);
  void sort();
  /// Drops nodes that are no members and have nothing below.
  void shrink();

 private:
  void visit(Path& path, const std::function<void(const Path&)>& visit) const;
  void write(std::string& out, bool member) const;
  std::vector<Node> nodes_;  // sorted by element
};

struct FieldSet::Node {
  std::string element;
  bool member = false;
  FieldSet below;
  bool operator==(const Node& other) const {
    return element == other.element && member == other.member && below == other.below;
  }
};

/// A path as errors name it: .spec.ports[port=80,protocol="TCP"].name
std::string to_string(const FieldSet::Path& path);

}  // namespace gantry::model
