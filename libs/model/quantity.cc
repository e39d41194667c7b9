#include "libs/model/quantity.h"

#include <fmt/format.h>

#include <charconv>
#include <limits>
#include <vector>

namespace gantry::model {

namespace {

using Wide = __int128;

constexpr Wide kNano = 1'000'000'000;
// Saturation, far above what Kubernetes keeps exactly (2^63-1), and far enough below the end of the type for sums.
constexpr Wide kMax = static_cast<Wide>(100'000'000'000'000'000) * 1'000'000'000'000;  // 10^29 nano = 10^20

Wide clamp(Wide v) { return v > kMax ? kMax : v < -kMax ? -kMax : v; }

std::string text_of(Wide v) {
  if (v == 0) return "0";
  bool negative = v < 0;
  std::string out;
  for (; v != 0; v /= 10) out.push_back(static_cast<char>('0' + (negative ? -(v % 10) : v % 10)));
  if (negative) out.push_back('-');
  return {out.rbegin(), out.rend()};
}

/// v / d away from zero.
Wide divide_up(Wide v, Wide d) {
  Wide q = v / d;
  if (v % d != 0) q += v > 0 ? 1 : -1;
  return q;
}

int64_t saturate(Wide v) {
  if (v > std::numeric_limits<int64_t>::max()) return std::numeric_limits<int64_t>::max();
  if (v < std::numeric_limits<int64_t>::min()) return std::numeric_limits<int64_t>::min();
  return static_cast<int64_t>(v);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

const Error& malformed() {
  static const Error error{Code::kBadRequest,
                           "quantities must match the regular expression "
                           "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"};
  return error;
}

constexpr std::string_view kSi[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};  // 10^-9 ...
constexpr std::string_view kBinary[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};

/// Digits with one point as an exact fraction of a power of ten, then scaled; non-zero below 1 nano rounds up.
class Decimal {
 public:
  explicit Decimal(std::string_view digits) {
    for (char c : digits) {
      if (c == '.') {
        point_ = true;
        continue;
      }
      if (mantissa_ < kLimit) {
        mantissa_ = mantissa_ * 10 + (c - '0');
        if (point_) --exponent_;
      } else {
        if (c != '0') inexact_ = true;
        if (!point_) ++exponent_;
      }
    }
  }
  /// In nano units.
  Wide nanos(int64_t power_of_ten, unsigned power_of_two) const {
    if (mantissa_ == 0) return 0;
    Wide v = mantissa_;
    int64_t e = exponent_ + power_of_ten + 9;
    if (power_of_two > 0) {
      // First away with the factors of ten that are not needed, so that the rest fits: 1.5Gi stays exact.
      Wide whole = v, rest = 0;
      for (; e < 0 && whole != 0; ++e) {
        if (whole % 10 != 0) break;
        whole /= 10;
      }
      if (e >= 0) {
        for (; e > 0; --e) {
          if (whole > kMax / 10) return kMax;
          whole *= 10;
        }
        return whole > (kMax >> power_of_two) ? kMax : whole << power_of_two;
      }
      // v * 2^p / 10^k, by long multiplication in two halves.
      Wide divisor = 1;
      for (; e < 0; ++e) {
        if (divisor > kMax / 10) return 1;
        divisor *= 10;
      }
      Wide quotient = whole / divisor;
      rest = whole % divisor;
      for (unsigned i = 0; i < power_of_two; ++i) {
        if (quotient > kMax / 2) return kMax;
        quotient *= 2;
        rest *= 2;
        if (rest >= divisor) {
          rest -= divisor;
          ++quotient;
        }
      }
      return quotient + (rest != 0 || inexact_ ? 1 : 0);
    }
    for (; e > 0; --e) {
      if (v > kMax / 10) return kMax;
      v *= 10;
    }
    bool lost = inexact_;
    for (; e < 0; ++e) {
      if (v % 10 != 0) lost = true;
      v /= 10;
      if (v == 0) return 1;
    }
    return v + (lost ? 1 : 0);
  }

 private:
  static constexpr Wide kLimit = static_cast<Wide>(1'000'000'000'000'000'000) * 1'000'000'000'000'000;  // 10^33
  Wide mantissa_ = 0;
  int64_t exponent_ = 0;
  bool point_ = false, inexact_ = false;
};

}  // namespace

Result<Quantity> Quantity::parse(std::string_view text) {
  if (text.empty()) return malformed();
  auto s = text;
  bool negative = s.front() == '-';
  if (s.front() == '-' || s.front() == '+') s.remove_prefix(1);
  size_t n = 0, points = 0, digit_count = 0;
  for (; n < s.size() && (is_digit(s[n]) || s[n] == '.'); ++n) (s[n] == '.' ? points : digit_count)++;
  if (digit_count == 0 || points > 1) return malformed();
  Decimal number(s.substr(0, n));
  s.remove_prefix(n);

  Quantity q;
  int64_t ten = 0;
  unsigned two = 0;
  bool found = false;
  if (s.size() > 1 && (s[0] == 'e' || s[0] == 'E') && (is_digit(s[1]) || s[1] == '+' || s[1] == '-')) {
    auto digits = s.substr(s[1] == '+' ? 2 : 1);
    auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), ten);
    if (error == std::errc::result_out_of_range || ten > 1000 || ten < -1000)
      ten = ten < 0 || digits[0] == '-' ? -1000 : 1000;
    found = (error == std::errc() || error == std::errc::result_out_of_range) && end == digits.data() + digits.size() &&
            !digits.empty();
    q.form_ = Form::kExponent;
  }
  for (size_t i = 0; !found && i < std::size(kSi); ++i) {
    if (s == kSi[i]) {
      ten = static_cast<int64_t>(i) * 3 - 9;
      found = true;
    }
  }
  for (size_t i = 1; !found && i < std::size(kBinary); ++i) {
    if (s == kBinary[i]) {
      two = static_cast<unsigned>(i) * 10;
      q.form_ = Form::kBinarySi;
      found = true;
    }
  }
  if (!found) return malformed();
  q.nanos_ = clamp(number.nanos(ten, two));
  if (q.form_ == Form::kBinarySi && q.nanos_ < kNano) q.form_ = Form::kDecimalSi;
  if (negative) q.nanos_ = -q.nanos_;
  return q;
}

Quantity Quantity::from_value(int64_t value) {
  Quantity q;
  q.nanos_ = static_cast<Wide>(value) * kNano;
  return q;
}

Quantity Quantity::from_milli(int64_t milli) {
  Quantity q;
  q.nanos_ = static_cast<Wide>(milli) * 1'000'000;
  return q;
}

Quantity Quantity::from_bytes(int64_t bytes) {
  Quantity q = from_value(bytes);
  q.form_ = Form::kBinarySi;
  return q;
}

int64_t Quantity::value() const { return saturate(divide_up(nanos_, kNano)); }
int64_t Quantity::milli() const { return saturate(divide_up(nanos_, 1'000'000)); }

std::string Quantity::to_string() const {
  if (nanos_ == 0) return "0";
  if (form_ == Form::kBinarySi && nanos_ % kNano == 0) {
    Wide whole = nanos_ / kNano;
    if (whole <= -1024 || whole >= 1024) {
      size_t i = 0;
      for (; i + 1 < std::size(kBinary) && whole % 1024 == 0; ++i) whole /= 1024;
      return text_of(whole) + std::string(kBinary[i]);
    }
  }
  // The largest power of a thousand that leaves a whole number.
  Wide v = nanos_;
  int exponent = -9;
  for (; v % 1000 == 0 && (exponent < 18 || form_ == Form::kExponent); exponent += 3) v /= 1000;
  if (form_ == Form::kExponent) return exponent == 0 ? text_of(v) : fmt::format("{}e{}", text_of(v), exponent);
  return text_of(v) + std::string(kSi[(exponent + 9) / 3]);
}

Quantity Quantity::operator+(const Quantity& other) const {
  Quantity q;
  q.nanos_ = clamp(nanos_ + other.nanos_);
  q.form_ = nanos_ == 0 ? other.form_ : form_;
  return q;
}

Quantity Quantity::operator-(const Quantity& other) const {
  Quantity q;
  q.nanos_ = clamp(nanos_ - other.nanos_);
  q.form_ = nanos_ == 0 ? other.form_ : form_;
  return q;
}

}  // namespace gantry::model
