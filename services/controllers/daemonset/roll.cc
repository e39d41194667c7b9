// How a DaemonSet goes from one template to the next.
#include "services/controllers/daemonset/sync.h"
#include "services/controllers/framework/percent.h"

namespace gantry::controllers {
namespace {

const api::apps_v1::RollingUpdateDaemonSet* rolling_of(const api::apps_v1::DaemonSetSpec& spec) {
  return spec.update_strategy() == nullptr ? nullptr : spec.update_strategy()->rolling_update();
}

/// The pods of a node that stay: one old, one new. `clear`: no more than that.
struct Pair {
  const Daemon *fresh = nullptr, *old = nullptr;
  bool clear = true;
};
Pair pair_of(const std::vector<Daemon>& daemons) {
  Pair pair;
  for (const Daemon& d : daemons) {
    if (d.terminating) continue;
    const Daemon*& slot = d.updated ? pair.fresh : pair.old;
    pair.clear = pair.clear && slot == nullptr;
    slot = &d;
  }
  return pair;
}

}  // namespace

int32_t surge_of(const api::apps_v1::DaemonSetSpec& spec, int32_t desired) {
  const auto* rolling = rolling_of(spec);
  return rolling == nullptr || rolling->max_surge() == nullptr
             ? 0
             : resolve_percent(rolling->max_surge(), desired, true, "0");
}

void DaemonSetSync::roll() {
  int32_t desired = 0;
  for (const auto& [node, place] : places_) desired += place.run;
  const int32_t surge = surge_of(spec_, desired);
  if (surge > 0) return roll_surging(surge);
  const auto* rolling = rolling_of(spec_);
  const int32_t unavailable =
      resolve_percent(rolling == nullptr ? nullptr : rolling->max_unavailable(), desired, true, "1");
  roll_in_place(std::max(1, unavailable));  // 0 and 0 would never move
}

/// Old pods go as far as availability allows; keep() makes their successors.
void DaemonSetSync::roll_in_place(int32_t max_unavailable) {
  int32_t down = 0;
  std::vector<const Daemon*> broken, candidates;
  for (const auto& [node, place] : places_) {
    auto here = on_node_.find(node);
    if (here == on_node_.end()) {
      down += place.run;
      continue;
    }
    const Pair pair = pair_of(here->second);
    if (!pair.clear || (pair.old == nullptr) == (pair.fresh == nullptr)) {
      ++down;  // keep() is at work there
    } else if (pair.fresh != nullptr) {
      down += !pair.fresh->available;
    } else if (!pair.old->available) {
      broken.push_back(pair.old);
      ++down;
    } else {
      candidates.push_back(pair.old);
    }
  }
  for (const Daemon* d : broken) remove_pod(*d);  // costs no availability
  const size_t room = static_cast<size_t>(std::max(0, max_unavailable - down));
  for (size_t i = 0; i < std::min(room, candidates.size()); ++i) remove_pod(*candidates[i]);
}

/// New pods come beside old ones, as many at once as may be too many; keep() takes the old ones away.
void DaemonSetSync::roll_surging(int32_t max_surge) {
  int32_t surging = 0;
  std::vector<std::string> broken, candidates;
  for (const auto& [node, place] : places_) {
    auto here = on_node_.find(node);
    if (here == on_node_.end()) continue;
    const Pair pair = pair_of(here->second);
    if (!pair.clear) {
      ++surging;
    } else if (pair.old == nullptr || !place.run) {
      continue;
    } else if (pair.fresh != nullptr) {
      surging += !pair.fresh->available;
    } else {
      (pair.old->available ? candidates : broken).push_back(node);
    }
  }
  for (const std::string& node : broken) create_on(node);
  const size_t room = static_cast<size_t>(std::max(0, max_surge - surging));
  for (size_t i = 0; i < std::min(room, candidates.size()); ++i) create_on(candidates[i]);
}

}  // namespace gantry::controllers
