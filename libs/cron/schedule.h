// Cron schedules as Kubernetes reads them: five fields, names, ranges, steps, @hourly and its like, @every 1h30m.
#pragma once

#include <optional>
#include <string_view>

#include "libs/base/result.h"
#include "libs/cron/zone.h"

namespace gantry::cron {

/// A value, thread-safe.
class Schedule {
 public:
  /// kInvalid in the words of the library that Kubernetes uses.
  static Result<Schedule> parse(std::string_view text);
  /// The first moment after `unix_seconds` on the zone's clock; nullopt when there is none within five years. An hour
  /// that the clock skips has no run, one that it repeats has two.
  std::optional<int64_t> next(int64_t unix_seconds, const Zone& zone) const;

 private:
  bool day_matches(const Civil& c) const;
  uint64_t minutes_ = 0, hours_ = 0, days_ = 0, months_ = 0, weekdays_ = 0;
  bool any_day_ = false, any_weekday_ = false;
  int64_t every_ = 0;  // seconds, of @every
};

}  // namespace gantry::cron
