#include "services/scheduler/choose.h"

#include <cmath>
#include <limits>
#include <optional>

#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/scheduler/neighbor_rules.h"

namespace gantry::scheduler {
namespace {

struct Candidate {
  const NodeInfo* node;
  double resources;       // least allocated + balanced, 0..200
  int32_t siblings;       // pods of the same controller
  int32_t soft_taints;    // that the pod does not tolerate
  int64_t preference;     // weight of the preferred affinity terms that match
  double attraction = 0;  // of the pods around it
  std::optional<double> crowding;
  double neighbors = 0;  // what both are worth
};

/// The least and the most that candidates have of something.
struct Range {
  double least = std::numeric_limits<double>::max(), most = std::numeric_limits<double>::lowest();
  void add(double value) { least = std::min(least, value), most = std::max(most, value); }
};

/// kube-scheduler's weights of InterPodAffinity and PodTopologySpread: 2 each, of 0 to 100.
void add_neighbors(std::vector<Candidate>& candidates, const NeighborRules& rules) {
  Range attraction, crowding;
  for (Candidate& c : candidates) {
    attraction.add(c.attraction = rules.attraction(*c.node));
    if ((c.crowding = rules.crowding(*c.node))) crowding.add(*c.crowding);
  }
  for (Candidate& c : candidates) {
    if (attraction.most > attraction.least)
      c.neighbors += 200 * (c.attraction - attraction.least) / (attraction.most - attraction.least);
    if (c.crowding)
      c.neighbors += crowding.most > 0 ? 200 * (crowding.most + crowding.least - *c.crowding) / crowding.most : 200;
  }
}

double free_share(int64_t allocatable, int64_t used) {
  if (allocatable <= 0) return 0;
  return std::clamp(static_cast<double>(allocatable - used) / static_cast<double>(allocatable), 0.0, 1.0);
}

Candidate rate(const NodeInfo& node, const PodInfo& pod, uint32_t owner) {
  Candidate c{.node = &node, .resources = 0, .siblings = 0, .soft_taints = 0, .preference = 0};
  double cpu = free_share(node.allocatable.cpu, node.scored_cpu + pod.scored_cpu);
  double memory = free_share(node.allocatable.memory, node.scored_memory + pod.scored_memory);
  c.resources = 50 * (cpu + memory) + 100 * (1 - std::abs(cpu - memory) / 2);
  if (owner != 0) c.siblings = node.pods_of(owner);
  const auto& spec = *pod.object.as<api::core_v1::Pod>()->spec();
  for (const auto* taint : node.soft_taints) c.soft_taints += model::toleration_for(&spec, *taint) == nullptr;
  if (spec.affinity() != nullptr && spec.affinity()->node_affinity() != nullptr) {
    const auto* preferred = spec.affinity()->node_affinity()->preferred_during_scheduling_ignored_during_execution();
    if (preferred != nullptr) {
      for (const auto* term : *preferred) {
        if (term->preference() != nullptr && matches_term(*term->preference(), node))
          c.preference += term->weight().value_or(0);
      }
    }
  }
  return c;
}

}  // namespace

size_t enough(size_t nodes) {
  constexpr size_t kMost = 100;  // beyond that, more candidates do not make better choices; the next pod sees others
  return std::min(nodes, kMost);
}

Choice choose(const Cluster& cluster, const PodInfo& pod, size_t& cursor, const NodeFilter& given) {
  Choice choice;
  const NeighborRules rules(cluster, pod);
  const NodeFilter around = [&](const NodeInfo& node) {
    const char* refused = given ? given(node) : nullptr;
    return refused != nullptr ? refused : rules.refuses(node);
  };
  const NodeFilter& also = rules.none() ? given : around;
  const auto& nodes = cluster.nodes();
  size_t wanted = enough(cluster.node_count());
  uint32_t owner = pod.owner.empty() ? 0 : cluster.owner_id(pod.owner);
  static thread_local std::vector<Candidate> candidates;  // scratch: no allocation a pod
  candidates.clear();
  size_t start = nodes.empty() ? 0 : cursor % nodes.size();
  while (choice.evaluated < nodes.size() && candidates.size() < wanted) {
    const NodeInfo& node = nodes[(start + choice.evaluated++) % nodes.size()];
    if (fits(node, pod) && (!also || also(node) == nullptr)) candidates.push_back(rate(node, pod, owner));
  }
  if (!nodes.empty()) cursor = (start + choice.evaluated) % nodes.size();
  choice.feasible = candidates.size();
  if (!rules.none()) add_neighbors(candidates, rules);
  if (candidates.empty()) {
    choice.why = diagnose(cluster, pod, also);
    return choice;
  }
  int32_t most_siblings = 0, most_taints = 0;
  int64_t most_preference = 0;
  for (const Candidate& c : candidates) {
    most_siblings = std::max(most_siblings, c.siblings);
    most_taints = std::max(most_taints, c.soft_taints);
    most_preference = std::max(most_preference, c.preference);
  }
  double best = -1;
  for (const Candidate& c : candidates) {
    double score = c.resources;
    score += 2 * (most_siblings == 0 ? 100.0 : 100.0 * (most_siblings - c.siblings) / most_siblings);
    score += 3 * (most_taints == 0 ? 100.0 : 100.0 * (most_taints - c.soft_taints) / most_taints);
    score +=
        2 *
        (most_preference == 0 ? 0.0 : 100.0 * static_cast<double>(c.preference) / static_cast<double>(most_preference));
    score += c.neighbors;
    if (score > best) best = score, choice.node = c.node;
  }
  return choice;
}

bool fits_among(const Cluster& cluster, const NodeInfo& node, const PodInfo& pod, const NodeFilter& also) {
  return fits(node, pod) && !(also && also(node) != nullptr) && NeighborRules(cluster, pod).refuses(node) == nullptr;
}

}  // namespace gantry::scheduler
