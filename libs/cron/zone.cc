#include "libs/cron/zone.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <mutex>

namespace gantry::cron {
namespace {

constexpr const char* kFolder = "/usr/share/zoneinfo/";

bool plausible(std::string_view name) {
  if (name.empty() || name.front() == '/' || name.find("..") != std::string_view::npos) return false;
  return std::all_of(name.begin(), name.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '/' || c == '_' || c == '-' || c == '+';
  });
}

uint32_t big32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}
int64_t big64(std::string_view bytes, size_t at) {
  return static_cast<int64_t>(uint64_t{big32(bytes, at)} << 32 | big32(bytes, at + 4));
}

Error bad() { return {.code = Code::kInvalid, .message = "not a TZif file"}; }

/// Reads a POSIX TZ string piece by piece.
struct Posix {
  std::string_view left;
  bool take(char c) {
    if (left.empty() || left.front() != c) return false;
    left.remove_prefix(1);
    return true;
  }
  bool name() {
    if (take('<')) {
      size_t end = left.find('>');
      if (end == std::string_view::npos) return false;
      left.remove_prefix(end + 1);
      return true;
    }
    size_t n = 0;
    while (n < left.size() && std::isalpha(static_cast<unsigned char>(left[n])) != 0) ++n;
    left.remove_prefix(n);
    return n >= 3;
  }
  bool number(int& value) {
    size_t n = 0;
    value = 0;
    while (n < left.size() && n < 4 && std::isdigit(static_cast<unsigned char>(left[n])) != 0)
      value = value * 10 + (left[n++] - '0');
    left.remove_prefix(n);
    return n > 0;
  }
  /// [+-]hh[:mm[:ss]]
  bool time(int64_t& seconds) {
    bool minus = take('-');
    if (!minus) take('+');
    int h = 0, m = 0, s = 0;
    if (!number(h) || (take(':') && !number(m)) || (take(':') && !number(s))) return false;
    seconds = (minus ? -1 : 1) * (int64_t{h} * 3600 + m * 60 + s);
    return true;
  }
};

bool leap(int year) { return year % 4 == 0 && (year % 100 != 0 || year % 400 == 0); }

}  // namespace

int64_t days_from_civil(int year, int month, int day) {
  // Years begin in March, so that a leap day is a year's last.
  int64_t y = month <= 2 ? int64_t{year} - 1 : year;
  int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
  int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
  return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

void civil_from_days(int64_t days, int& year, int& month, int& day) {
  days += 719468;
  int64_t era = (days >= 0 ? days : days - 146096) / 146097, of_era = days - era * 146097;
  int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
  int64_t of_year = of_era - (365 * y + y / 4 - y / 100), m = (5 * of_year + 2) / 153;
  day = static_cast<int>(of_year - (153 * m + 2) / 5 + 1);
  month = static_cast<int>(m < 10 ? m + 3 : m - 9);
  year = static_cast<int>(y + era * 400 + (month <= 2 ? 1 : 0));
}

const Zone& Zone::utc() {
  static const Zone zone = [] {
    Zone z;
    z.offsets_ = {0};
    return z;
  }();
  return zone;
}

Result<const Zone*> Zone::find(std::string_view name) {
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<const Zone>, std::less<>> known;
  if (name == "UTC") return &utc();
  std::lock_guard lock(mutex);
  if (auto it = known.find(name); it != known.end()) return it->second.get();
  Error unknown{.code = Code::kInvalid, .message = fmt::format("unknown time zone {}", name)};
  const std::string path = kFolder + std::string(name);
  std::error_code error;
  if (!plausible(name) || !std::filesystem::is_regular_file(path, error)) return unknown;
  std::ifstream in(path, std::ios::binary);
  std::string bytes(std::istreambuf_iterator<char>(in), {});
  auto zone = parse(bytes);
  if (!zone.ok()) return unknown;
  return known.emplace(name, std::make_unique<const Zone>(std::move(*zone))).first->second.get();
}

Result<Zone> Zone::parse(std::string_view bytes) {
  constexpr size_t kHeader = 44;
  auto sized = [&](size_t at, size_t time_size, size_t& end) {
    if (bytes.size() < at + kHeader || bytes.substr(at, 4) != "TZif") return false;
    size_t isut = big32(bytes, at + 20), isstd = big32(bytes, at + 24), leaps = big32(bytes, at + 28);
    size_t times = big32(bytes, at + 32), types = big32(bytes, at + 36), chars = big32(bytes, at + 40);
    if (times > 100'000 || types > 256 || leaps > 1000 || chars > 10'000 || isut > 256 || isstd > 256) return false;
    end = at + kHeader + times * (time_size + 1) + types * 6 + chars + leaps * (time_size + 4) + isstd + isut;
    return end <= bytes.size();
  };
  size_t second = 0, end = 0;
  if (!sized(0, 4, second) || bytes[4] < '2' || !sized(second, 8, end)) return bad();
  const size_t times = big32(bytes, second + 32), types = big32(bytes, second + 36);
  const size_t at = second + kHeader, kinds = at + times * 8, ttinfo = kinds + times;
  if (types == 0) return bad();
  auto offset_of = [&](size_t type) { return int64_t{static_cast<int32_t>(big32(bytes, ttinfo + type * 6))}; };
  Zone zone;
  zone.offsets_.push_back(offset_of(0));
  for (size_t i = 0; i < times; ++i) {
    size_t type = static_cast<unsigned char>(bytes[kinds + i]);
    if (type >= types) return bad();
    zone.transitions_.push_back(big64(bytes, at + i * 8));
    zone.offsets_.push_back(offset_of(type));
  }
  if (!std::is_sorted(zone.transitions_.begin(), zone.transitions_.end())) return bad();
  std::string_view footer = bytes.substr(end);
  if (footer.size() >= 2 && footer.front() == '\n') {
    footer.remove_prefix(1);
    footer = footer.substr(0, footer.find('\n'));
    if (!footer.empty() && !zone.parse_footer(footer)) return bad();
  }
  return zone;
}

/// e.g. CET-1CEST,M3.5.0,M10.5.0/3
bool Zone::parse_footer(std::string_view text) {
  Posix in{text};
  int64_t west = 0;
  if (!in.name() || !in.time(west)) return false;
  has_footer_ = true;
  standard_ = -west;
  if (in.left.empty()) return true;
  if (!in.name()) return false;
  has_summer_ = true;
  summer_ = standard_ + 3600;
  if (!in.left.empty() && in.left.front() != ',') {
    if (!in.time(west)) return false;
    summer_ = -west;
  }
  for (Rule* rule : {&summer_begins_, &summer_ends_}) {
    if (!in.take(',')) return false;
    if (in.take('M')) {
      if (!in.number(rule->month) || !in.take('.') || !in.number(rule->week) || !in.take('.') ||
          !in.number(rule->weekday) || rule->month < 1 || rule->month > 12)
        return false;
    } else {
      rule->form = in.take('J') ? Rule::Form::kJulian : Rule::Form::kDay;
      if (!in.number(rule->day)) return false;
    }
    if (in.take('/') && !in.time(rule->time)) return false;
  }
  return true;
}

/// Local seconds since 1970 at which the rule's change comes in `year`.
int64_t Zone::moment(const Rule& rule, int year) {
  int64_t day = 0;
  if (rule.form == Rule::Form::kMonth) {
    int64_t first = days_from_civil(year, rule.month, 1);
    int64_t weekday = ((first + 4) % 7 + 7) % 7;
    day = first + (rule.weekday - weekday + 7) % 7 + (rule.week - 1) * 7;
    int64_t next = rule.month == 12 ? days_from_civil(year + 1, 1, 1) : days_from_civil(year, rule.month + 1, 1);
    while (day >= next) day -= 7;
  } else if (rule.form == Rule::Form::kJulian) {
    day = days_from_civil(year, 1, 1) + rule.day - 1 + (leap(year) && rule.day >= 60 ? 1 : 0);
  } else {
    day = days_from_civil(year, 1, 1) + rule.day;
  }
  return day * 86'400 + rule.time;
}

int64_t Zone::offset_by_rules(int64_t t) const {
  if (!has_summer_) return standard_;
  int year = 0, month = 0, day = 0;
  int64_t local = t + standard_;
  civil_from_days((local >= 0 ? local : local - 86'399) / 86'400, year, month, day);
  int64_t begins = moment(summer_begins_, year) - standard_, ends = moment(summer_ends_, year) - summer_;
  bool summer = begins < ends ? t >= begins && t < ends : t >= begins || t < ends;
  return summer ? summer_ : standard_;
}

int64_t Zone::offset(int64_t t) const {
  auto after = std::upper_bound(transitions_.begin(), transitions_.end(), t);
  if (after == transitions_.end() && has_footer_) return offset_by_rules(t);
  return offsets_[static_cast<size_t>(after - transitions_.begin())];
}

Civil Zone::local(int64_t t) const {
  int64_t local = t + offset(t), days = (local >= 0 ? local : local - 86'399) / 86'400, rest = local - days * 86'400;
  Civil c{};
  civil_from_days(days, c.year, c.month, c.day);
  c.hour = static_cast<int>(rest / 3600);
  c.minute = static_cast<int>(rest / 60 % 60);
  c.second = static_cast<int>(rest % 60);
  c.weekday = static_cast<int>(((days + 4) % 7 + 7) % 7);
  return c;
}

std::string Zone::format(int64_t t) const {
  Civil c = local(t);
  int64_t east = offset(t);
  std::string text =
      fmt::format("{:04}-{:02}-{:02}T{:02}:{:02}:{:02}", c.year, c.month, c.day, c.hour, c.minute, c.second);
  if (east == 0) return text + "Z";
  int64_t minutes = (east < 0 ? -east : east) / 60;
  return text + fmt::format("{}{:02}:{:02}", east < 0 ? '-' : '+', minutes / 60, minutes % 60);
}

}  // namespace gantry::cron
