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

/// Objects of a mirror in the order of their keys ("<ns>/<name>"), as they were at one revision. For the turn of the
/// loop that made it.
class View {
 public:
  /// nullopt when the mirror's window does not reach back to `revision`; 0 = as it is now.
  static std::optional<View> at(const Mirror& mirror, uint64_t revision);
  uint64_t revision() const { return revision_; }
  /// Nothing has changed since.
  bool is_now() const { return undone_->empty(); }
  /// Visits what has a key above `after` and is in `ns` ("" = all), until `visit` says false.
  using Visit = std::function<bool(const model::Object&)>;
  void for_each(std::string_view ns, std::string_view after, const Visit& visit) const;

 private:
  const Mirror* mirror_ = nullptr;
  uint64_t revision_ = 0;
  std::shared_ptr<const Past::Undone> undone_;
};

/// Where a list goes on: the revision of its first page (0: whatever is there by then) and the last key told. What
/// clients hold as a continue token.
struct Position {
  uint64_t revision = 0;
  std::string key;
  std::optional<int64_t> left = {};  // objects after it, where that is known
  std::string encode() const;
  /// kBadRequest
  static Result<Position> decode(const std::string& token);
};

/// Calls back when the mirror covers what the read asks for (Command.match and revision): at once, or after a bounded
/// wait. kTooLargeRevision, kTimeout, and what the store says.
void await_view(Mirror& mirror, const bus::Command& command, Mirror::Done done);

Result<Answer> get(const Mirror& mirror, const bus::Command& command);
/// The error of a token or revision that is too old carries, for a token, another one in a cause ContinueToken: it goes
/// on with what is there now.
Result<Answer> list(const Mirror& mirror, const bus::Command& command);

/// "<ns>/<name>"
std::string key_of(const model::Object& object);

}  // namespace gantry::apigw
