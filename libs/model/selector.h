// Label and field selectors. Immutable after parsing, thread-safe.
#pragma once

#include <string>
#include <vector>

#include "libs/base/result.h"
#include "libs/model/object.h"

namespace gantry::model {

using Labels = flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>;

class LabelSelector {
 public:
  /// `app=web,tier!=db,env in (a,b),!gone,has`. Empty selects everything. kBadRequest with the API server's words.
  static Result<LabelSelector> parse(std::string_view text);
  /// From matchLabels and matchExpressions. Null selects nothing, an empty one everything.
  static Result<LabelSelector> from(const api::meta_v1::LabelSelector* selector);
  static LabelSelector from_map(const Labels* match_labels);  // a Service's spec.selector; null selects nothing
  bool matches(const Labels* labels) const;
  bool everything() const { return !nothing_ && requirements_.empty(); }
  std::string to_string() const;

 private:
  enum class Operator : uint8_t { kIn, kNotIn, kExists, kDoesNotExist, kGreater, kLess };
  struct Requirement {
    std::string key;
    Operator op;
    std::vector<std::string> values;
  };
  std::vector<Requirement> requirements_;
  bool nothing_ = false;
};

class FieldSelector {
 public:
  /// `metadata.name=x,status.phase!=Running`; only metadata.name, metadata.namespace and the kind's `select` fields,
  /// else kBadRequest `field label not supported: ...`.
  static Result<FieldSelector> parse(const Kind& kind, std::string_view text);
  bool matches(const Object& object) const;
  bool everything() const { return requirements_.empty(); }
  /// The value that `field` must equal, if it must, e.g. of spec.nodeName: to use an index.
  const std::string* required(std::string_view field) const;

 private:
  struct Requirement {
    std::string field, value;
    bool equal;
  };
  std::vector<Requirement> requirements_;
};

/// The value of a selectable field as a string ("" when absent); bools as true/false.
std::string field_value(const Object& object, std::string_view json_path);

}  // namespace gantry::model
