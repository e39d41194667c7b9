// Get and List, answered from the mirrors. A read first waits until its mirror has reached the head that the store had
// when it came. Loop's thread only.
#pragma once

#include <map>

#include "libs/model/selector.h"
#include "services/apigw/core/api.h"
#include "services/apigw/core/world.h"

namespace gantry::apigw {

/// What a List or Watch lets through.
struct Filter {
  std::string ns, name;  // "" = all
  model::LabelSelector labels;
  model::FieldSelector fields;
  /// kBadRequest in the API's words.
  static Result<Filter> make(const model::Kind& kind, std::string ns, std::string name, std::string_view labels,
                             std::string_view fields);
  bool matches(const model::Object& object) const;
  bool narrow() const { return !labels.everything() || !fields.everything(); }
};

/// Objects of a mirror in the order of their keys ("<ns>/<name>"), as they were at one revision.
class View {
 public:
  /// nullopt when the mirror's window does not reach back to `revision`; 0 = as it is now.
  static std::optional<View> at(const Mirror& mirror, uint64_t revision);
  uint64_t revision() const { return revision_; }
  /// Visits what has a key above `after` and is in `ns` ("" = all).
  void for_each(std::string_view ns, std::string_view after,
                const std::function<void(const model::Object&)>& visit) const;

 private:
  const Mirror* mirror_ = nullptr;
  uint64_t revision_ = 0;
  std::map<std::string, model::Object> undone_;  // what was different at the revision; empty: was not there
};

/// Where a list goes on: the revision of its first page and the last key told.
struct Position {
  uint64_t revision = 0;
  std::string key;
  std::string encode() const;
  static Result<Position> decode(const std::string& token);
};

Result<Answer> get(const Mirror& mirror, const bus::Command& command);
Result<Answer> list(const Mirror& mirror, const bus::Command& command);

/// "<ns>/<name>"
std::string key_of(const model::Object& object);

}  // namespace gantry::apigw
