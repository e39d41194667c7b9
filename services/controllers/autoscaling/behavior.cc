#include "services/controllers/autoscaling/behavior.h"

#include <algorithm>
#include <climits>
#include <cmath>

#include "libs/model/object.h"

namespace gantry::controllers {
namespace {

using model::str;
namespace hpa = api::autoscaling_v2;

constexpr int64_t kLongest = 3600;  // of windows and periods

struct Policy {
  bool percent;
  int32_t value, period;
};
struct Rules {
  int64_t window = 0;
  std::string_view select = "Max";
  std::vector<Policy> policies;
};

Rules rules_of(const hpa::HPAScalingRules* given, bool up) {
  Rules rules;
  rules.window = up ? 0 : 300;
  if (given != nullptr) {
    if (given->stabilization_window_seconds()) rules.window = *given->stabilization_window_seconds();
    if (given->select_policy() != nullptr) rules.select = str(given->select_policy());
    for (flatbuffers::uoffset_t i = 0; given->policies() != nullptr && i < given->policies()->size(); ++i) {
      const auto* p = given->policies()->Get(i);
      rules.policies.push_back({str(p->type()) == "Percent", p->value().value_or(0), p->period_seconds().value_or(0)});
    }
  }
  if (rules.policies.empty()) {
    rules.policies.push_back({true, 100, 15});
    if (up) rules.policies.push_back({false, 4, 15});
  }
  return rules;
}

int32_t sum_since(const std::vector<ScalingRecord::Entry>& entries, int64_t since) {
  int32_t sum = 0;
  for (const auto& e : entries) sum += e.at > since ? e.count : 0;
  return sum;
}

/// The farthest that the policies let it go from `current`.
int32_t limit(const Rules& rules, bool up, int32_t current, const ScalingRecord& record, int64_t now) {
  if (rules.select == "Disabled") return current;
  const bool highest = (rules.select == "Min") != up;  // the larger number of the policies'
  int32_t result = highest ? INT_MIN : INT_MAX;
  for (const Policy& p : rules.policies) {
    const int32_t added = sum_since(record.ups, now - p.period), taken = sum_since(record.downs, now - p.period);
    const int32_t start = current - added + taken;
    const double step = p.percent ? static_cast<double>(start) * p.value / 100 : p.value;
    const auto proposed =
        static_cast<int32_t>(std::clamp(up ? std::ceil(start + step) : std::trunc(start - step), -2e9, 2e9));
    result = highest ? std::max(result, proposed) : std::min(result, proposed);
  }
  // Shares of nothing are nothing: the first pod is always allowed.
  if (up && current == 0 && !rules.policies.empty()) result = std::max(result, 1);
  return up ? std::max(result, current) : std::min(result, current);
}

void forget(std::vector<ScalingRecord::Entry>& entries, int64_t now) {
  std::erase_if(entries, [&](const auto& e) { return e.at <= now - kLongest; });
}

/// What holds for all of the window: up to the lowest that was wanted, down to the highest.
int32_t stabilize(const Rules& up, const Rules& down, int32_t current, int32_t wanted, const ScalingRecord& record,
                  int64_t now) {
  int32_t lowest = wanted, highest = wanted;
  for (const auto& e : record.wanted) {
    if (e.at > now - up.window) lowest = std::min(lowest, e.count);
    if (e.at > now - down.window) highest = std::max(highest, e.count);
  }
  return std::clamp(current, std::min(lowest, highest), std::max(lowest, highest));
}

}  // namespace

Bounded bound(const hpa::HorizontalPodAutoscalerBehavior* behavior, int32_t current, int32_t wanted, int32_t min,
              int32_t max, ScalingRecord& record, int64_t now) {
  const Rules up = rules_of(behavior == nullptr ? nullptr : behavior->scale_up(), true);
  const Rules down = rules_of(behavior == nullptr ? nullptr : behavior->scale_down(), false);
  for (auto* entries : {&record.wanted, &record.ups, &record.downs}) forget(*entries, now);
  // A new term knows of nothing: what is there was wanted.
  if (record.wanted.empty()) record.wanted.push_back({now, current});
  Bounded out;
  const int32_t stable = stabilize(up, down, current, wanted, record, now);
  if (record.wanted.back().count != wanted || record.wanted.back().at != now) record.wanted.push_back({now, wanted});
  if (stable == wanted) {
    out.able_reason = "ReadyForNewScale", out.able_message = "recommended size matches current size";
  } else if (stable < wanted) {
    out.able_reason = "ScaleUpStabilized";
    out.able_message = "recent recommendations were lower than current one, applying the lowest recent recommendation";
  } else {
    out.able_reason = "ScaleDownStabilized";
    out.able_message =
        "recent recommendations were higher than current one, applying the highest recent recommendation";
  }
  out.replicas = stable;
  out.limit_reason = "DesiredWithinRange", out.limit_message = "the desired count is within the acceptable range";
  if (stable > current) {
    const int32_t rate = limit(up, true, current, record, now), most = std::min(max, rate);
    if (stable > most) {
      out = {most, out.able_reason,   out.able_message,
             true, "TooManyReplicas", "the desired replica count is more than the maximum replica count"};
      if (rate < max) {
        out.limit_reason = "ScaleUpLimit";
        out.limit_message = "the desired replica count is increasing faster than the maximum scale rate";
      }
    }
  } else if (stable < current) {
    const int32_t rate = limit(down, false, current, record, now), least = std::max(min, rate);
    if (stable < least) {
      out = {least, out.able_reason,  out.able_message,
             true,  "TooFewReplicas", "the desired replica count is less than the minimum replica count"};
      if (rate > min) {
        out.limit_reason = "ScaleDownLimit";
        out.limit_message = "the desired replica count is decreasing faster than the maximum scale rate";
      }
    }
  }
  return out;
}

void note_scaling(ScalingRecord& record, int32_t from, int32_t to, int64_t now) {
  if (to > from) record.ups.push_back({now, to - from});
  if (to < from) record.downs.push_back({now, from - to});
}

}  // namespace gantry::controllers
