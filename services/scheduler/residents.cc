#include "services/scheduler/residents.h"

#include <algorithm>

#include "libs/model/workload.h"

namespace gantry::scheduler {
namespace {

void add(CountPerNode& counts, size_t slot, int32_t n) {
  if (counts.size() <= slot) counts.resize(slot + 1);
  counts[slot] += n;
}

}  // namespace

bool Residents::counts_in(const Group& group, const PodInfo& pod) const {
  return (group.ending_too || !model::is_deleting(pod.object.meta())) && matches(group.match, pod.object, namespaces_);
}

void Residents::count(const PodInfo& pod, size_t slot, int32_t sign) {
  for (auto& [id, group] : groups_) {
    if (counts_in(group, pod)) add(group.counts, slot, sign);
  }
  if (pod.neighbors == nullptr) return;
  for (const AffinityTerm& term : pod.neighbors->apart) {
    auto at = refusals_.try_emplace(term.topology + "\n" + term.pods.id, Refusal{term, {}, 0}).first;
    add(at->second.holders, slot, sign);
    if ((at->second.total += sign) == 0) refusals_.erase(at);
  }
}

const CountPerNode& Residents::matching(const PodMatch& match, bool ending_too) {
  const std::string id = (ending_too ? "+" : "-") + match.id;
  if (auto found = groups_.find(id); found != groups_.end()) {
    found->second.used = ++uses_;
    return found->second.counts;
  }
  if (groups_.size() >= kMostGroups) {
    groups_.erase(std::min_element(groups_.begin(), groups_.end(),
                                   [](const auto& a, const auto& b) { return a.second.used < b.second.used; }));
  }
  Group group{match, ending_too, {}, ++uses_};
  each_([&](const PodInfo& pod, size_t slot) {
    if (counts_in(group, pod)) add(group.counts, slot, 1);
  });
  return groups_.emplace(id, std::move(group)).first->second.counts;
}

void Residents::forget_namespaces() {
  std::erase_if(groups_, [](const auto& entry) { return entry.second.match.by_namespace_labels(); });
}

}  // namespace gantry::scheduler
