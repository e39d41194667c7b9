// The cluster's certificate authority: signs what requests ask for. Immutable; thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/loop.h"
#include "libs/base/result.h"

namespace gantry::controllers {

class Authority {
 public:
  /// PEM of a certificate and its key. kInvalid: one cannot be read, or they do not belong together. `longest`: no
  /// certificate lasts longer.
  static Result<std::shared_ptr<const Authority>> load(std::string_view certificate, std::string_view key,
                                                       Duration longest = std::chrono::hours(24 * 365));
  virtual ~Authority() = default;

  /// The certificate in PEM: subject and alternative names of the request, the usages given (of those that the built-in
  /// signers know), a random serial number. `seconds` (0: the longest) is cut to the longest life and to the
  /// authority's own end. kInvalid: the request cannot be read.
  virtual Result<std::string> sign(std::string_view request, const std::vector<std::string>& usages, int64_t seconds,
                                   WallMicros now) const = 0;
};

/// When a certificate in PEM ends, in unix seconds; nullopt: it cannot be read.
std::optional<int64_t> end_of_certificate(std::string_view pem);

}  // namespace gantry::controllers
