#include "services/controllers/autoscaling/measure.h"

#include <algorithm>
#include <cmath>

#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::controllers {
namespace {

using api::core_v1::Pod;
using model::str;

constexpr int64_t kStarting = 300;   // seconds in which a new pod's CPU may mislead
constexpr int64_t kFirstReady = 30;  // what became unready this soon after its start never was ready

enum class State : uint8_t { kIgnored, kUnready, kMissing, kReady };

State state_of(const ScaledPod& scaled, bool cpu, int64_t now) {
  const Pod& pod = *scaled.object.as<Pod>();
  const std::string_view phase = pod.status() == nullptr ? std::string_view() : str(pod.status()->phase());
  if (model::is_deleting(pod.metadata()) || phase == "Failed") return State::kIgnored;
  if (phase == "Pending" || phase.empty()) return State::kUnready;
  if (!scaled.use) return State::kMissing;
  if (!cpu) return State::kReady;
  const auto* ready = model::condition(pod, "Ready");
  const auto started = pod.status()->start_time();
  if (ready == nullptr || !started) return State::kUnready;
  const int64_t changed = ready->last_transition_time().value_or(0);
  const bool is_ready = str(ready->status()) == "True";
  const bool unready = *started + kStarting > now ? !is_ready || scaled.use->time < changed + scaled.use->window
                                                  : !is_ready && *started + kFirstReady > changed;
  return unready ? State::kUnready : State::kReady;
}

struct Sum {
  int64_t used = 0, requested = 0, pods = 0;
};

/// What is used in relation to what is wanted.
double ratio(const Sum& sum, const Target& target) {
  if (target.utilization)
    return sum.requested == 0 ? 0
                              : static_cast<double>(sum.used) * 100 / static_cast<double>(sum.requested) /
                                    static_cast<double>(*target.utilization);
  return static_cast<double>(sum.used) / static_cast<double>(sum.pods) / static_cast<double>(target.average_milli);
}

bool within(double r, const Tolerances& tolerances) { return r >= 1 - tolerances.down && r <= 1 + tolerances.up; }

int32_t rounded_up(double value) { return static_cast<int32_t>(std::clamp(std::ceil(value), 0.0, 2e9)); }

}  // namespace

Result<Proposal> propose(const std::vector<ScaledPod>& pods, int32_t current, const Target& target,
                         const Tolerances& tolerances, int64_t now) {
  Sum known;
  std::vector<const ScaledPod*> unready, missing;
  for (const ScaledPod& pod : pods) {
    switch (state_of(pod, target.cpu, now)) {
      case State::kIgnored:
        break;
      case State::kUnready:
        unready.push_back(&pod);
        break;
      case State::kMissing:
        missing.push_back(&pod);
        break;
      case State::kReady:
        known.used += pod.use->milli;
        known.requested += pod.requested;
        ++known.pods;
    }
  }
  if (known.pods == 0)
    return Error{.code = Code::kUnavailable,
                 .message = "did not receive metrics for targeted pods (pods might be unready)"};
  Proposal proposal;
  proposal.average_milli = known.used / known.pods;
  if (known.requested > 0 && target.utilization)
    proposal.utilization = static_cast<int32_t>(known.used * 100 / known.requested);
  proposal.replicas = current;
  const double first = ratio(known, target);
  if (missing.empty() && (unready.empty() || first <= 1)) {
    if (!within(first, tolerances)) proposal.replicas = rounded_up(first * static_cast<double>(known.pods));
    return proposal;
  }
  // What is not known is taken as what speaks against a change.
  Sum all = known;
  for (const ScaledPod* pod : missing) {
    if (first < 1) {
      all.used += target.utilization ? pod->requested * std::max(100, *target.utilization) / 100 : target.average_milli;
    } else if (first == 1) {
      continue;
    }
    all.requested += pod->requested;
    ++all.pods;
  }
  if (first > 1) {
    for (const ScaledPod* pod : unready) {
      all.requested += pod->requested;
      ++all.pods;
    }
  }
  const double second = ratio(all, target);
  if (within(second, tolerances) || (first < 1 && second > 1) || (first > 1 && second < 1)) return proposal;
  const int32_t wanted = rounded_up(second * static_cast<double>(all.pods));
  if ((second < 1 && wanted > current) || (second > 1 && wanted < current)) return proposal;
  proposal.replicas = wanted;
  return proposal;
}

Result<Proposal> propose_whole(const Whole& whole, const Tolerances& tolerances) {
  if (whole.target_milli <= 0) return Error{.code = Code::kUnavailable, .message = "no target"};
  Proposal proposal;
  proposal.replicas = whole.current;
  const double asked = static_cast<double>(whole.milli) / static_cast<double>(whole.target_milli);
  if (whole.per_pod) {
    const int64_t pods = whole.reported;
    proposal.average_milli = pods == 0 ? whole.milli : (whole.milli + pods - 1) / pods;
    if (pods == 0 || !within(asked / static_cast<double>(pods), tolerances)) proposal.replicas = rounded_up(asked);
    return proposal;
  }
  proposal.average_milli = whole.milli;
  if (whole.current == 0) {
    proposal.replicas = rounded_up(asked);
  } else if (!within(asked, tolerances) && whole.ready > 0) {
    // Kubernetes takes none for enough while none is ready: pods that start would be taken away again.
    proposal.replicas = rounded_up(asked * whole.ready);
  }
  return proposal;
}

}  // namespace gantry::controllers
