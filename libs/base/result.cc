#include "libs/base/result.h"

#include <array>

namespace gantry {
namespace {

struct Row {
  Code code;
  int http;
  const char* reason;
};

constexpr std::array kRows = {
    Row{Code::kOk, 200, ""},
    Row{Code::kBadRequest, 400, "BadRequest"},
    Row{Code::kUnauthorized, 401, "Unauthorized"},
    Row{Code::kForbidden, 403, "Forbidden"},
    Row{Code::kNotFound, 404, "NotFound"},
    Row{Code::kMethodNotAllowed, 405, "MethodNotAllowed"},
    Row{Code::kNotAcceptable, 406, "NotAcceptable"},
    Row{Code::kAlreadyExists, 409, "AlreadyExists"},
    Row{Code::kConflict, 409, "Conflict"},
    Row{Code::kExpired, 410, "Expired"},
    Row{Code::kTooLarge, 413, "RequestEntityTooLarge"},
    Row{Code::kUnsupportedMediaType, 415, "UnsupportedMediaType"},
    Row{Code::kInvalid, 422, "Invalid"},
    Row{Code::kTooManyRequests, 429, "TooManyRequests"},
    Row{Code::kInternal, 500, "InternalError"},
    Row{Code::kUnavailable, 503, "ServiceUnavailable"},
    Row{Code::kTimeout, 504, "Timeout"},
    Row{Code::kUnknownOutcome, 504, "Timeout"},
    Row{Code::kTooLargeRevision, 504, "Timeout"},
};

}  // namespace

int http_status(Code code) { return kRows[static_cast<size_t>(code)].http; }
const char* reason(Code code) { return kRows[static_cast<size_t>(code)].reason; }

Code code_from_reason(std::string_view reason) {
  for (const auto& row : kRows) {
    if (reason == row.reason) return row.code;
  }
  return Code::kInternal;
}

}  // namespace gantry
