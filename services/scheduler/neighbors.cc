#include "services/scheduler/neighbors.h"

#include <fmt/format.h>

#include <algorithm>

#include "schemas/api/core_v1_generated.h"

namespace gantry::scheduler {
namespace {

using api::core_v1::Pod;
using model::LabelSelector;
using model::str;

using Keys = flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>;

/// The selector, and that the pod's own values of `same` are shared and those of `other` are not. Validation has seen
/// to its form; what cannot be read matches nothing.
LabelSelector selector_of(const api::meta_v1::LabelSelector* given, const model::Object& pod, const Keys* same,
                          const Keys* other) {
  auto selector = LabelSelector::from(given);
  if (given == nullptr || !selector.ok()) return LabelSelector::from_map(nullptr);
  std::string text = selector->to_string();
  const auto demand = [&](const Keys* keys, std::string_view relation) {
    if (keys == nullptr) return;
    for (const auto* key : *keys) {
      const auto* value = model::lookup(pod.meta()->labels(), str(key));
      if (value != nullptr) text += fmt::format("{}{}{}{}", text.empty() ? "" : ",", str(key), relation, str(value));
    }
  };
  demand(same, "=");
  demand(other, "!=");
  auto whole = LabelSelector::parse(text);
  return whole.ok() ? *whole : LabelSelector::from_map(nullptr);
}

std::string id_of(const LabelSelector& selector) { return selector.everything() ? "*" : selector.to_string(); }

void add_clause(PodMatch& match, PodMatch::Clause clause) {
  std::sort(clause.namespaces.begin(), clause.namespaces.end());
  match.id += fmt::format("{};{};{}\n", fmt::join(clause.namespaces, ","),
                          clause.namespaced ? id_of(*clause.namespaced) : "-", id_of(clause.labels));
  match.clauses.push_back(std::move(clause));
}

PodMatch::Clause clause_of(const api::core_v1::PodAffinityTerm& term, const model::Object& pod) {
  PodMatch::Clause clause;
  clause.labels = selector_of(term.label_selector(), pod, term.match_label_keys(), term.mismatch_label_keys());
  if (term.namespaces() != nullptr) {
    for (const auto* ns : *term.namespaces()) clause.namespaces.emplace_back(str(ns));
  }
  if (term.namespace_selector() != nullptr) {
    auto selector = LabelSelector::from(term.namespace_selector());
    if (selector.ok()) clause.namespaced = *selector;
  } else if (clause.namespaces.empty()) {
    clause.namespaces.emplace_back(pod.ns());
  }
  return clause;
}

AffinityTerm term_of(const api::core_v1::PodAffinityTerm& term, const model::Object& pod, int64_t weight) {
  AffinityTerm out{{}, std::string(str(term.topology_key())), weight};
  add_clause(out.pods, clause_of(term, pod));
  return out;
}

template <typename Terms>
void add_preferred(const Terms* terms, const model::Object& pod, int sign, Neighbors& out) {
  if (terms == nullptr) return;
  for (const auto* weighted : *terms) {
    if (weighted->pod_affinity_term() != nullptr)
      out.preferred.push_back(term_of(*weighted->pod_affinity_term(), pod, sign * weighted->weight().value_or(0)));
  }
}

void read_affinity(const api::core_v1::Affinity& affinity, const model::Object& pod, Neighbors& out) {
  if (const auto* together = affinity.pod_affinity()) {
    if (const auto* terms = together->required_during_scheduling_ignored_during_execution()) {
      for (const auto* term : *terms) {
        add_clause(out.together, clause_of(*term, pod));
        out.places.emplace_back(str(term->topology_key()));
      }
    }
    add_preferred(together->preferred_during_scheduling_ignored_during_execution(), pod, 1, out);
  }
  if (const auto* apart = affinity.pod_anti_affinity()) {
    if (const auto* terms = apart->required_during_scheduling_ignored_during_execution()) {
      for (const auto* term : *terms) out.apart.push_back(term_of(*term, pod, 0));
    }
    add_preferred(apart->preferred_during_scheduling_ignored_during_execution(), pod, -1, out);
  }
}

SpreadRule rule_of(const api::core_v1::TopologySpreadConstraint& given, const model::Object& pod) {
  SpreadRule rule;
  add_clause(rule.pods, {{std::string(pod.ns())},
                         std::nullopt,
                         selector_of(given.label_selector(), pod, given.match_label_keys(), nullptr)});
  rule.topology = str(given.topology_key());
  rule.max_skew = given.max_skew().value_or(1);
  rule.min_domains = given.min_domains().value_or(0);
  rule.required = str(given.when_unsatisfiable()) != "ScheduleAnyway";
  rule.honors_affinity = str(given.node_affinity_policy()) != "Ignore";
  rule.honors_taints = str(given.node_taints_policy()) == "Honor";
  return rule;
}

}  // namespace

bool PodMatch::by_namespace_labels() const {
  return std::any_of(clauses.begin(), clauses.end(), [](const Clause& c) { return c.namespaced.has_value(); });
}

bool matches(const PodMatch& match, const model::Object& pod, const NamespaceLabels& namespaces) {
  const auto holds = [&](const PodMatch::Clause& clause) {
    const bool there = std::binary_search(clause.namespaces.begin(), clause.namespaces.end(), pod.ns()) ||
                       (clause.namespaced && clause.namespaced->matches(namespaces(pod.ns())));
    return there && clause.labels.matches(pod.meta()->labels());
  };
  return !match.clauses.empty() && std::all_of(match.clauses.begin(), match.clauses.end(), holds);
}

std::shared_ptr<const Neighbors> neighbors_of(const model::Object& pod) {
  const auto* spec = pod.as<Pod>()->spec();
  if (spec == nullptr) return nullptr;
  const auto* affinity = spec->affinity();
  const bool affine = affinity != nullptr && (affinity->pod_affinity() != nullptr || affinity->pod_anti_affinity());
  const auto* spread = spec->topology_spread_constraints();
  if (!affine && (spread == nullptr || spread->size() == 0)) return nullptr;
  Neighbors out;
  if (affine) read_affinity(*affinity, pod, out);
  if (spread != nullptr) {
    for (const auto* constraint : *spread) out.spread.push_back(rule_of(*constraint, pod));
  }
  return std::make_shared<const Neighbors>(std::move(out));
}

}  // namespace gantry::scheduler
