#include "services/controllers/cronjob/due.h"

#include <algorithm>

namespace gantry::controllers {

Due find_due(const cron::Schedule& schedule, const cron::Zone& zone, int64_t since, int64_t now) {
  constexpr int kMany = 100;
  Due due;
  due.next = schedule.next(now, zone);
  auto first = schedule.next(since, zone);
  if (!first || *first > now) return due;
  due.at = first;
  auto second = schedule.next(*first, zone);
  if (!second || *second > now) return due;
  // From the distance of two runs near to the last one; what is left is walked.
  const int64_t between = *second - *first, missed = (now - *first) / between + 1;
  due.many_missed = missed > kMany;
  int64_t from = missed > 2 ? std::max(*first, now - 2 * between) : *first;
  for (auto t = schedule.next(from, zone); t && *t <= now; t = schedule.next(*t, zone)) due.at = t;
  if (*due.at == *first) {  // uneven: nothing in the last stretch
    for (auto t = second; t && *t <= now; t = schedule.next(*t, zone)) due.at = t;
  }
  return due;
}

}  // namespace gantry::controllers
