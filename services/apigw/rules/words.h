// The API server's words for what goes wrong with an object, so that users and client libraries see what they know.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"
#include "libs/model/schema.h"

namespace gantry::apigw {

/// `deployments.apps`: the resource with its group.
std::string qualified_resource(const model::Kind& kind);

Error not_found(const model::Kind& kind, std::string_view name);
Error already_exists(const model::Kind& kind, std::string_view name);
/// `Operation cannot be fulfilled on pods "x": <why>`.
Error conflict(const model::Kind& kind, std::string_view name, std::string_view why);
/// The conflict of an update that is based on an old resourceVersion.
Error modified(const model::Kind& kind, std::string_view name, uint64_t current_revision);
/// `pods "x" is forbidden: <why>`.
Error forbidden(const model::Kind& kind, std::string_view name, std::string_view why);
Error bad_request(std::string message);
/// A revision that does not exist yet.
Error too_large_revision(uint64_t wanted, uint64_t current);
/// A revision that is gone; `what` as the API server says it.
Error expired(uint64_t wanted, uint64_t oldest);

/// What is wrong with an object: every finding with its field path. Collected, so that the user sees all at once.
class Problems {
 public:
  void required(std::string field, std::string_view detail = {});
  void invalid(std::string field, std::string_view value, std::string_view detail);  // prints the value in quotes
  void invalid(std::string field, int64_t value, std::string_view detail);
  void invalid_json(std::string field, std::string_view value, std::string_view detail);  // prints the value as it is
  void unsupported(std::string field, std::string_view value, std::vector<std::string_view> supported);
  void invalid(std::string field, int value, std::string_view detail) {
    invalid(std::move(field), static_cast<int64_t>(value), detail);
  }
  void duplicate(std::string field, std::string_view value);
  void duplicate_json(std::string field, std::string_view value);
  void forbidden(std::string field, std::string_view detail);
  void too_long(std::string field, size_t max_bytes);
  void too_many(std::string field, size_t n, size_t max);
  void not_found(std::string field, std::string_view value);
  /// Nothing when `detail` is empty: for the checks of libs/model/names.h.
  void check(std::string field, std::string_view value, const std::string& detail) {
    if (!detail.empty()) invalid(std::move(field), value, detail);
  }

  bool empty() const { return causes_.empty(); }
  /// Something is already said of this very field.
  bool about(std::string_view field) const;
  void add_all(const Problems& others);
  const std::vector<Cause>& causes() const { return causes_; }
  /// kInvalid: `Deployment.apps "web" is invalid: [...]`.
  Error error(const model::Kind& kind, std::string_view name) const;

 private:
  void add(const char* reason, std::string field, std::string message);
  std::vector<Cause> causes_;
};

/// In double quotes, escaped as Go prints %q.
std::string quoted(std::string_view text);

}  // namespace gantry::apigw
