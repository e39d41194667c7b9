#include "services/scheduler/neighbor_rules.h"

#include <algorithm>
#include <cmath>

#include "services/scheduler/filters.h"

namespace gantry::scheduler {
namespace {

/// The place of the node, "" when it has none.
std::string_view place(const NodeInfo& node, std::string_view topology) {
  return node.object ? model::str(model::lookup(node.object.meta()->labels(), topology)) : std::string_view();
}
bool has_place(const NodeInfo& node, std::string_view topology) {
  return node.object && model::lookup(node.object.meta()->labels(), topology) != nullptr;
}

int64_t at(const std::unordered_map<std::string_view, int64_t>& pods, std::string_view place) {
  const auto found = pods.find(place);
  return found == pods.end() ? 0 : found->second;
}

}  // namespace

NeighborRules::NeighborRules(const Cluster& cluster, const PodInfo& pod)
    : cluster_(cluster), asked_(pod.neighbors.get()) {
  for (const auto& [id, refusal] : cluster.refusals()) {
    if (cluster.matches(refusal.term.pods, pod.object))
      refused_.push_back(places_of(refusal.term.topology, refusal.holders));
  }
  if (asked_ == nullptr) return;
  if (!asked_->places.empty()) {
    const CountPerNode& counts = cluster.matching(asked_->together, true);
    for (const auto& topology : asked_->places) together_.push_back(places_of(topology, counts));
    first_ = std::all_of(together_.begin(), together_.end(), [](const Places& p) { return p.pods.empty(); }) &&
             cluster.matches(asked_->together, pod.object);
  }
  for (const auto& term : asked_->apart) apart_.push_back(places_of(term.topology, cluster.matching(term.pods, true)));
  for (const auto& term : asked_->preferred)
    preferred_.emplace_back(term.weight, places_of(term.topology, cluster.matching(term.pods, true)));
  for (const auto& rule : asked_->spread) spread_.push_back(spread_of(rule, pod));
}

bool NeighborRules::none() const { return asked_ == nullptr && refused_.empty(); }

NeighborRules::Places NeighborRules::places_of(std::string_view topology, const CountPerNode& counts) const {
  Places out{topology, {}};
  const auto& nodes = cluster_.nodes();
  for (size_t slot = 0; slot < counts.size() && slot < nodes.size(); ++slot) {
    if (counts[slot] > 0 && has_place(nodes[slot], topology)) out.pods[place(nodes[slot], topology)] += counts[slot];
  }
  return out;
}

bool NeighborRules::spreads_over(const NodeInfo& node, bool required) const {
  return std::all_of(asked_->spread.begin(), asked_->spread.end(), [&](const SpreadRule& rule) {
    return rule.required != required || has_place(node, rule.topology);
  });
}

NeighborRules::Spread NeighborRules::spread_of(const SpreadRule& rule, const PodInfo& pod) const {
  Spread out{&rule, {rule.topology, {}}};
  out.itself = cluster_.matches(rule.pods, pod.object);
  const CountPerNode& counts = cluster_.matching(rule.pods, false);
  const auto& nodes = cluster_.nodes();
  for (size_t slot = 0; slot < nodes.size(); ++slot) {
    const NodeInfo& node = nodes[slot];
    if (!spreads_over(node, rule.required)) continue;
    if (rule.honors_affinity && !matches_selectors(node, pod)) continue;
    if (rule.honors_taints && !tolerates_taints(node, pod)) continue;
    out.places.pods[place(node, rule.topology)] += slot < counts.size() ? counts[slot] : 0;
  }
  // Too few places: those that are missing count as empty ones.
  if (static_cast<int32_t>(out.places.pods.size()) < rule.min_domains || out.places.pods.empty()) return out;
  out.least = std::min_element(out.places.pods.begin(), out.places.pods.end(), [](const auto& a, const auto& b) {
                return a.second < b.second;
              })->second;
  return out;
}

const char* NeighborRules::refuses(const NodeInfo& node) const {
  for (const Spread& spread : spread_) {
    if (!spread.rule->required) continue;
    if (!has_place(node, spread.places.topology))
      return "node(s) didn't match pod topology spread constraints (missing required label)";
    const int64_t skew = at(spread.places.pods, place(node, spread.places.topology)) + (spread.itself ? 1 : 0);
    if (skew - spread.least > spread.rule->max_skew) return "node(s) didn't match pod topology spread constraints";
  }
  for (const Places& places : together_) {
    if (!has_place(node, places.topology) || (!first_ && at(places.pods, place(node, places.topology)) == 0))
      return "node(s) didn't match pod affinity rules";
  }
  for (const Places& places : apart_) {
    if (has_place(node, places.topology) && at(places.pods, place(node, places.topology)) > 0)
      return "node(s) didn't match pod anti-affinity rules";
  }
  for (const Places& places : refused_) {
    if (has_place(node, places.topology) && at(places.pods, place(node, places.topology)) > 0)
      return "node(s) didn't satisfy existing pods anti-affinity rules";
  }
  return nullptr;
}

double NeighborRules::attraction(const NodeInfo& node) const {
  int64_t sum = 0;
  for (const auto& [weight, places] : preferred_) {
    if (has_place(node, places.topology)) sum += weight * at(places.pods, place(node, places.topology));
  }
  return static_cast<double>(sum);
}

std::optional<double> NeighborRules::crowding(const NodeInfo& node) const {
  double sum = 0;
  for (const Spread& spread : spread_) {
    if (spread.rule->required) continue;
    if (!has_place(node, spread.places.topology)) return std::nullopt;
    // The more places there are, the less one pod more or less in one of them says of the balance of all.
    sum += static_cast<double>(at(spread.places.pods, place(node, spread.places.topology))) *
               std::log(static_cast<double>(spread.places.pods.size()) + 2) +
           (spread.rule->max_skew - 1);
  }
  return sum;
}

}  // namespace gantry::scheduler
