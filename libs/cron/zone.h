// Time zones from the system's tz database (/usr/share/zoneinfo, Debian's tzdata): offsets from UTC at any moment.
// libstdc++ 12 has no std::chrono::locate_zone.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"

namespace gantry::cron {

/// Broken-down local time.
struct Civil {
  int year, month, day;  // month 1-12, day 1-31
  int hour, minute, second;
  int weekday;  // 0: Sunday
};

/// Immutable, thread-safe.
class Zone {
 public:
  static const Zone& utc();
  /// By its IANA name, e.g. Europe/Berlin. Read once a process, then kept. kInvalid: `unknown time zone X`.
  static Result<const Zone*> find(std::string_view name);
  /// Reads a TZif file's bytes.
  static Result<Zone> parse(std::string_view tzif);

  /// Seconds east of UTC.
  int64_t offset(int64_t unix_seconds) const;
  Civil local(int64_t unix_seconds) const;
  /// RFC 3339 with the zone's offset: 2026-03-29T01:30:00+01:00.
  std::string format(int64_t unix_seconds) const;

 private:
  struct Rule {                            // the day and the local time of a change, every year
    int month = 0, week = 0, weekday = 0;  // Mm.w.d
    int day = 0;                           // Jn (1-365, no 29 February) if julian, else n (0-365)
    enum class Form : uint8_t { kMonth, kJulian, kDay } form = Form::kMonth;
    int64_t time = 7200;
  };
  bool parse_footer(std::string_view text);
  static int64_t moment(const Rule& rule, int year);
  int64_t offset_by_rules(int64_t unix_seconds) const;

  std::vector<int64_t> transitions_;
  std::vector<int64_t> offsets_;  // one more than transitions: before the first, then after each
  bool has_footer_ = false, has_summer_ = false;
  int64_t standard_ = 0, summer_ = 0;
  Rule summer_begins_, summer_ends_;
};

/// Days since 1970-01-01 of a civil date, and back.
int64_t days_from_civil(int year, int month, int day);
void civil_from_days(int64_t days, int& year, int& month, int& day);

}  // namespace gantry::cron
