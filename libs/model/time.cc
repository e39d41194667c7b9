#include <fmt/format.h>

#include "libs/model/json.h"

namespace gantry::model {

namespace {

struct Date {
  int64_t year;
  unsigned month, day;
};

// Howard Hinnant's days_from_civil and back, on the proleptic Gregorian calendar.
int64_t days_from(Date d) {
  int64_t y = d.year - (d.month <= 2 ? 1 : 0);
  int64_t era = (y >= 0 ? y : y - 399) / 400;
  auto yoe = static_cast<unsigned>(y - era * 400);
  unsigned doy = (153 * (d.month + (d.month > 2 ? -3u : 9u)) + 2) / 5 + d.day - 1;
  unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
  return era * 146097 + static_cast<int64_t>(doe) - 719468;
}

Date date_from(int64_t days) {
  days += 719468;
  int64_t era = (days >= 0 ? days : days - 146096) / 146097;
  auto doe = static_cast<unsigned>(days - era * 146097);
  unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
  unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
  unsigned mp = (5 * doy + 2) / 153;
  unsigned month = mp + (mp < 10 ? 3 : -9u);
  return {static_cast<int64_t>(yoe) + era * 400 + (month <= 2 ? 1 : 0), month, doy - (153 * mp + 2) / 5 + 1};
}

int64_t floor_div(int64_t a, int64_t b) { return a / b - (a % b < 0 ? 1 : 0); }

std::string format(int64_t seconds, int64_t micros, bool with_micros) {
  // The years that RFC 3339 can write.
  constexpr int64_t kFirst = -62167219200, kLast = 253402300799;
  seconds = std::clamp(seconds, kFirst, kLast);
  int64_t days = floor_div(seconds, 86400);
  int64_t rest = seconds - days * 86400;
  Date d = date_from(days);
  auto text = fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", d.year, d.month, d.day, rest / 3600, rest / 60 % 60,
                          rest % 60);
  return with_micros ? fmt::format("{}.{:06}Z", text, micros) : text + "Z";
}

/// Exactly `n` digits.
bool digits(std::string_view& s, size_t n, int64_t& out) {
  if (s.size() < n) return false;
  out = 0;
  for (size_t i = 0; i < n; ++i) {
    if (s[i] < '0' || s[i] > '9') return false;
    out = out * 10 + (s[i] - '0');
  }
  s.remove_prefix(n);
  return true;
}

bool literal(std::string_view& s, char c) {
  if (s.empty() || s.front() != c) return false;
  s.remove_prefix(1);
  return true;
}

unsigned days_in(int64_t year, int64_t month) {
  bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
  constexpr unsigned kDays[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
  return month == 2 && leap ? 29 : kDays[month - 1];
}

}  // namespace

std::string format_time(int64_t unix_seconds) { return format(unix_seconds, 0, false); }

std::string format_micro_time(int64_t unix_micros) {
  int64_t seconds = floor_div(unix_micros, 1'000'000);
  return format(seconds, unix_micros - seconds * 1'000'000, true);
}

Result<int64_t> parse_time(std::string_view text) {
  auto s = text;
  auto bad = [&] {
    return Error{Code::kBadRequest,
                 fmt::format("parsing time \"{}\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"{}\"", text, s)};
  };
  int64_t year, month, day, hour, minute, second, micros = 0, offset = 0;
  if (!digits(s, 4, year) || !literal(s, '-') || !digits(s, 2, month) || !literal(s, '-') || !digits(s, 2, day) ||
      !literal(s, 'T') || !digits(s, 2, hour) || !literal(s, ':') || !digits(s, 2, minute) || !literal(s, ':') ||
      !digits(s, 2, second)) {
    return bad();
  }
  if (month < 1 || month > 12 || day < 1 || day > days_in(year, month) || hour > 23 || minute > 59 || second > 59) {
    return Error{Code::kBadRequest, fmt::format("parsing time \"{}\": out of range", text)};
  }
  if (literal(s, '.') || literal(s, ',')) {
    int64_t unit = 100'000;
    size_t n = 0;
    for (; n < s.size() && s[n] >= '0' && s[n] <= '9'; ++n, unit /= 10) micros += unit * (s[n] - '0');
    if (n == 0) return bad();
    s.remove_prefix(n);
  }
  if (!literal(s, 'Z')) {
    bool west = !s.empty() && s.front() == '-';
    int64_t hours, minutes;
    if (!(literal(s, '+') || literal(s, '-')) || !digits(s, 2, hours) || !literal(s, ':') || !digits(s, 2, minutes)) {
      return bad();
    }
    if (hours > 23 || minutes > 59) return bad();
    offset = (hours * 3600 + minutes * 60) * (west ? -1 : 1);
  }
  if (!s.empty()) return bad();
  int64_t seconds = days_from({year, static_cast<unsigned>(month), static_cast<unsigned>(day)}) * 86400 + hour * 3600 +
                    minute * 60 + second - offset;
  return seconds * 1'000'000 + micros;
}

}  // namespace gantry::model
