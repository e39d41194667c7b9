#include "services/scheduler/preempt.h"

#include <algorithm>
#include <limits>
#include <optional>
#include <tuple>

#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "schemas/api/policy_more_v1_generated.h"

namespace gantry::scheduler {
namespace {

using api::core_v1::Pod;

/// As many as kube-scheduler tries: a tenth of the nodes, but a hundred if there are.
size_t enough_candidates(size_t nodes) { return std::max<size_t>(100, nodes / 10); }

int64_t start_of(const PodInfo& pod) {
  const auto* status = pod.object.as<Pod>()->status();
  return status == nullptr ? std::numeric_limits<int64_t>::max()
                           : status->start_time().value_or(std::numeric_limits<int64_t>::max());
}

/// Higher priority first, of equals that which runs for longer.
bool more_important(const PodInfo* a, const PodInfo* b) {
  return std::tuple(-int64_t{a->priority}, start_of(*a), std::string_view(a->key)) <
         std::tuple(-int64_t{b->priority}, start_of(*b), std::string_view(b->key));
}

struct Candidate {
  const NodeInfo* node = nullptr;
  std::vector<const PodInfo*> victims;
  size_t violations = 0;

  /// The least is the best: broken budgets, the priority of the most important, their sum, their number, and the age of
  /// the oldest of the most important.
  auto cost() const {
    int64_t highest = std::numeric_limits<int64_t>::min(), sum = 0, oldest = std::numeric_limits<int64_t>::max();
    for (const PodInfo* victim : victims) {
      if (victim->priority > highest) highest = victim->priority, oldest = std::numeric_limits<int64_t>::max();
      if (victim->priority == highest) oldest = std::min(oldest, start_of(*victim));
      sum += int64_t{victim->priority} - std::numeric_limits<int32_t>::min();
    }
    return std::tuple(violations, highest, sum, victims.size(), -oldest);
  }
};

/// Sets pods aside, and puts those back that are still so at its end.
class Aside {
 public:
  explicit Aside(Cluster& cluster) : cluster_(cluster) {}
  ~Aside() {
    for (const PodInfo* pod : pods_) cluster_.set_aside(pod->key, false);
  }
  Aside(const Aside&) = delete;
  Aside& operator=(const Aside&) = delete;
  void take(const PodInfo* pod) {
    cluster_.set_aside(pod->key, true);
    pods_.push_back(pod);
  }

 private:
  Cluster& cluster_;
  std::vector<const PodInfo*> pods_;
};

bool breaks(const PodInfo& victim, std::vector<Budget>& budgets) {
  bool broken = false;
  for (Budget& budget : budgets) {
    if (budget.ns == victim.object.ns() && budget.pods.matches(victim.object.meta()->labels()))
      broken = --budget.allowed < 0 || broken;
  }
  return broken;
}

/// Nullopt: the pod does not fit even if all of `lower` go.
std::optional<Candidate> make_room(Cluster& cluster, size_t slot, const PodInfo& pod,
                                   const std::vector<const PodInfo*>& lower, std::vector<Budget> budgets) {
  const NodeInfo& node = cluster.nodes()[slot];
  Candidate out{&node, {}, 0};
  Aside aside(cluster);
  std::vector<const PodInfo*> staying;
  for (const PodInfo* other : lower) {
    aside.take(other);
    if (!model::is_deleting(other->object.meta())) staying.push_back(other);
  }
  if (!fits_among(cluster, node, pod)) return std::nullopt;
  std::sort(staying.begin(), staying.end(), more_important);
  // First those whose budget would be broken may stay, then the others, the more important first.
  std::vector<const PodInfo*> protected_, free;
  for (const PodInfo* other : staying) (breaks(*other, budgets) ? protected_ : free).push_back(other);
  const auto spare = [&](const PodInfo* other) {
    cluster.set_aside(other->key, false);
    if (fits_among(cluster, node, pod)) return true;
    cluster.set_aside(other->key, true);
    out.victims.push_back(other);
    return false;
  };
  for (const PodInfo* other : protected_) out.violations += spare(other) ? 0 : 1;
  for (const PodInfo* other : free) spare(other);
  return out;
}

}  // namespace

std::vector<Budget> read_budgets(const projection::Cache& cache) {
  std::vector<Budget> out;
  cache.for_each([&](const model::Object& object) {
    const auto* budget = object.as<api::policy_v1::PodDisruptionBudget>();
    const auto selector = model::LabelSelector::from(budget->spec() == nullptr ? nullptr : budget->spec()->selector());
    if (!selector.ok()) return;
    const auto* status = budget->status();
    out.push_back({std::string(object.ns()), *selector,
                   status == nullptr ? 0 : int64_t{status->disruptions_allowed().value_or(0)}});
  });
  return out;
}

Preemption preempt(Cluster& cluster, const PodInfo& pod, const std::vector<Budget>& budgets, const NodeFilter& also) {
  const auto& nodes = cluster.nodes();
  Preemption out;
  if (!pod.preempts) {
    out.why_not = "not eligible due to preemptionPolicy=Never.";
    return out;
  }
  const auto lower = cluster.pods_below(pod.priority);
  Diagnosis why;
  why.nodes = cluster.node_count();
  std::optional<Candidate> best;
  size_t candidates = 0;
  const size_t start = nodes.empty() ? 0 : std::hash<std::string>()(pod.key) % nodes.size();
  for (size_t i = 0; i < nodes.size() && candidates < enough_candidates(nodes.size()); ++i) {
    const size_t slot = (start + i) % nodes.size();
    if (!nodes[slot].object) continue;
    if (!lets_in(nodes[slot], pod) || (also && also(nodes[slot]) != nullptr)) {
      ++why.reasons[kPreemptionIsNoHelp];
      continue;
    }
    auto candidate = slot < lower.size() && !lower[slot].empty() ? make_room(cluster, slot, pod, lower[slot], budgets)
                                                                 : std::nullopt;
    if (!candidate) {
      ++why.reasons["No preemption victims found for incoming pod"];
      continue;
    }
    ++candidates;
    if (!best || candidate->cost() < best->cost()) best = std::move(candidate);
  }
  if (!best) {
    out.why_not = why.message();
    return out;
  }
  out.node = best->node->name;
  for (const PodInfo* victim : best->victims) out.victims.push_back(*victim);
  return out;
}

}  // namespace gantry::scheduler
