// Which run of a CronJob is due. Pure functions.
#pragma once

#include <optional>

#include "libs/cron/schedule.h"

namespace gantry::controllers {

struct Due {
  std::optional<int64_t> at;    // the most recent time that should have started a run, in unix seconds
  std::optional<int64_t> next;  // the first after `now`
  bool many_missed = false;     // more than a hundred since `since`
};
/// What is due at `now` of all that came after `since` (the last run, or the CronJob's creation).
Due find_due(const cron::Schedule& schedule, const cron::Zone& zone, int64_t since, int64_t now);

}  // namespace gantry::controllers
