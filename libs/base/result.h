// Errors as values. Error carries what a Kubernetes Status carries, so that any layer can name the object and the field
// at fault and the gateway turns it into HTTP without guessing.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace gantry {

/// The kinds of failure. HTTP status and Status.reason follow from it (http_status(), reason()).
enum class Code : uint8_t {
  kOk = 0,
  kBadRequest,            // 400 BadRequest
  kUnauthorized,          // 401 Unauthorized
  kForbidden,             // 403 Forbidden
  kNotFound,              // 404 NotFound
  kMethodNotAllowed,      // 405 MethodNotAllowed
  kNotAcceptable,         // 406 NotAcceptable
  kAlreadyExists,         // 409 AlreadyExists
  kConflict,              // 409 Conflict: the revision or a precondition does not hold
  kExpired,               // 410 Expired: the revision was trimmed
  kTooLarge,              // 413 RequestEntityTooLarge
  kUnsupportedMediaType,  // 415 UnsupportedMediaType
  kInvalid,               // 422 Invalid: causes name the fields
  kTooManyRequests,       // 429 TooManyRequests
  kInternal,              // 500 InternalError
  kUnavailable,           // 503 ServiceUnavailable: nothing was done, try again
  kTimeout,               // 504 Timeout: nothing was done in time
  kUnknownOutcome,        // 504 Timeout: it may have been done; retry with the same command id
  kTooLargeRevision,      // 504 Timeout with cause ResourceVersionTooLarge: a revision of the future
};

int http_status(Code code);
/// The `reason` of a Kubernetes Status, e.g. "AlreadyExists".
const char* reason(Code code);
/// From a Status reason; kInternal when unknown.
Code code_from_reason(std::string_view reason);

/// One entry of Status.details.causes.
struct Cause {
  std::string reason;   // FieldValueRequired, FieldValueInvalid, FieldValueNotSupported, FieldValueDuplicate, ...
  std::string message;  // e.g. `Required value`
  std::string field;    // JSON path from the object's root: spec.containers[0].image
};

struct Error {
  Code code = Code::kInternal;
  std::string message;
  std::vector<Cause> causes = {};
  std::string group = {}, kind = {}, name = {}, uid = {};  // what Status.details names
  uint64_t current_revision = 0;                           // with kConflict: what is there now
  uint32_t retry_after_seconds = 0;
};

/// A value or an Error. Not thread-safe; access to the wrong side is a programming error and aborts.
template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT(google-explicit-constructor)
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT(google-explicit-constructor)
  bool ok() const { return state_.index() == 0; }
  explicit operator bool() const { return ok(); }
  T& value() { return *check(std::get_if<0>(&state_)); }
  const T& value() const { return *check(std::get_if<0>(&state_)); }
  T& operator*() { return value(); }
  const T& operator*() const { return value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }
  Error& error() { return *check(std::get_if<1>(&state_)); }
  const Error& error() const { return *check(std::get_if<1>(&state_)); }
  Code code() const { return ok() ? Code::kOk : error().code; }

 private:
  template <typename P>
  static P* check(P* p) {
    if (p == nullptr) __builtin_trap();
    return p;
  }
  std::variant<T, Error> state_;
};

/// Success without a value: `Result<Done>`, `return Done{};`
struct Done {};
using Status = Result<Done>;

}  // namespace gantry
