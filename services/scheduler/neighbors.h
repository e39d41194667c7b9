// What a pod asks of the pods around it: affinity, anti-affinity and spreading over topologies, read once. Immutable;
// any thread. https://kubernetes.io/docs/concepts/scheduling-eviction/topology-spread-constraints/ and assign-pod-node
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libs/model/object.h"
#include "libs/model/selector.h"

namespace gantry::scheduler {

/// Which pods are meant.
struct PodMatch {
  struct Clause {
    std::vector<std::string> namespaces;             // sorted
    std::optional<model::LabelSelector> namespaced;  // and the namespaces with such labels
    model::LabelSelector labels;
  };
  std::vector<Clause> clauses;  // all hold
  std::string id;               // equal if the same pods are meant
  /// The labels of namespaces count.
  bool by_namespace_labels() const;
};

/// A namespace's labels, or null.
using NamespaceLabels = std::function<const model::Labels*(std::string_view)>;
bool matches(const PodMatch& match, const model::Object& pod, const NamespaceLabels& namespaces);

struct AffinityTerm {
  PodMatch pods;
  std::string topology;  // the label whose value nodes share that count as one place
  int64_t weight = 0;    // of a preference; negative: rather not there
};

struct SpreadRule {
  PodMatch pods;
  std::string topology;
  int32_t max_skew = 1, min_domains = 0;
  bool required = true;         // else it only counts in the score
  bool honors_affinity = true;  // nodes that the pod's selectors exclude are no domain
  bool honors_taints = false;   // nor are those with taints that it does not tolerate
};

struct Neighbors {
  PodMatch together;                // required affinity: the pods that match every term, in each of these topologies
  std::vector<std::string> places;  // empty: there is none
  std::vector<AffinityTerm> apart;  // required anti-affinity
  std::vector<AffinityTerm> preferred;
  std::vector<SpreadRule> spread;
};

/// Null: the pod asks for nothing.
std::shared_ptr<const Neighbors> neighbors_of(const model::Object& pod);

}  // namespace gantry::scheduler
