// Kubernetes resource quantities: 100m, 1.5Gi, 12e3. Exact. Immutable, thread-safe.
#pragma once

#include <compare>
#include <string>
#include <string_view>

#include "libs/base/result.h"

namespace gantry::model {

class Quantity {
 public:
  Quantity() = default;
  static Result<Quantity> parse(std::string_view text);
  static Quantity from_value(int64_t value);
  static Quantity from_milli(int64_t milli);
  static Quantity from_bytes(int64_t bytes);  // prints with Ki, Mi, ...

  int64_t value() const;  // rounded up, saturating
  int64_t milli() const;  // rounded up, saturating
  /// The canonical form that the API server prints: 1500m, 1Gi.
  std::string to_string() const;
  Quantity operator+(const Quantity& other) const;
  Quantity operator-(const Quantity& other) const;
  std::strong_ordering operator<=>(const Quantity& other) const { return nanos_ <=> other.nanos_; }
  bool operator==(const Quantity& other) const { return nanos_ == other.nanos_; }

 private:
  enum class Form : uint8_t { kDecimalSi, kBinarySi, kExponent };
  __int128 nanos_ = 0;
  Form form_ = Form::kDecimalSi;
};

}  // namespace gantry::model
