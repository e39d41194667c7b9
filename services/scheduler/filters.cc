#include "services/scheduler/filters.h"

#include "libs/model/node_selector.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::scheduler {

using api::core_v1::NodeSelectorTerm;
using api::core_v1::Pod;
using api::core_v1::PodSpec;
using api::core_v1::Taint;
using model::str;

namespace {

const PodSpec& spec_of(const PodInfo& pod) { return *pod.object.as<Pod>()->spec(); }

bool tolerates_unschedulable(const PodSpec& spec) {
  if (spec.tolerations() == nullptr) return false;
  for (const auto* t : *spec.tolerations()) {
    std::string_view key = str(t->key()), effect = str(t->effect());
    bool exists = str(t->operator_()) == "Exists";
    if ((key.empty() ? exists : key == "node.kubernetes.io/unschedulable") &&
        (effect.empty() || effect == "NoSchedule") && (exists || str(t->value()).empty())) {
      return true;
    }
  }
  return false;
}

const Taint* untolerated(const NodeInfo& node, const PodSpec& spec) {
  for (const Taint* taint : node.taints) {
    if (model::toleration_for(&spec, *taint) == nullptr) return taint;
  }
  return nullptr;
}

bool ports_free(const NodeInfo& node, const PodInfo& pod) {
  for (const HostPort& wanted : pod.ports) {
    for (const HostPort& used : node.ports) {
      if (used.conflicts(wanted)) return false;
    }
  }
  return true;
}

/// A resource that is not asked for never stands in the way, even if it is overcommitted.
bool room(int64_t wanted, int64_t allocatable, int64_t used) { return wanted == 0 || wanted <= allocatable - used; }

bool has_resources(const NodeInfo& node, const PodInfo& pod) {
  if (node.pods + 1 > node.max_pods) return false;
  if (!room(pod.requests.cpu, node.allocatable.cpu, node.used.cpu)) return false;
  if (!room(pod.requests.memory, node.allocatable.memory, node.used.memory)) return false;
  if (!room(pod.requests.ephemeral, node.allocatable.ephemeral, node.used.ephemeral)) return false;
  for (const auto& [name, amount] : pod.requests.extended) {
    if (!room(amount, node.allocatable.extended_amount(name), node.used.extended_amount(name))) return false;
  }
  return true;
}

std::vector<std::string> missing_resources(const NodeInfo& node, const PodInfo& pod) {
  std::vector<std::string> missing;
  if (node.pods + 1 > node.max_pods) missing.emplace_back("Too many pods");
  if (!room(pod.requests.cpu, node.allocatable.cpu, node.used.cpu)) missing.emplace_back("Insufficient cpu");
  if (!room(pod.requests.memory, node.allocatable.memory, node.used.memory))
    missing.emplace_back("Insufficient memory");
  if (!room(pod.requests.ephemeral, node.allocatable.ephemeral, node.used.ephemeral))
    missing.emplace_back("Insufficient ephemeral-storage");
  for (const auto& [name, amount] : pod.requests.extended) {
    if (!room(amount, node.allocatable.extended_amount(name), node.used.extended_amount(name)))
      missing.push_back("Insufficient " + name);
  }
  return missing;
}

}  // namespace

bool matches_term(const NodeSelectorTerm& term, const NodeInfo& node) {
  return model::matches(term, node.object.meta()->labels(), node.name);
}

bool matches_selectors(const NodeInfo& node, const PodInfo& pod) {
  const PodSpec& spec = spec_of(pod);
  if (spec.node_selector() != nullptr) {
    for (const auto* entry : *spec.node_selector()) {
      const auto* label = model::lookup(node.object.meta()->labels(), str(entry->key()));
      if (label == nullptr || str(label) != str(entry->value())) return false;
    }
  }
  if (spec.affinity() == nullptr || spec.affinity()->node_affinity() == nullptr) return true;
  const auto* required = spec.affinity()->node_affinity()->required_during_scheduling_ignored_during_execution();
  return required == nullptr || model::matches(required, node.object.meta()->labels(), node.name);
}

bool tolerates_taints(const NodeInfo& node, const PodInfo& pod) { return untolerated(node, spec_of(pod)) == nullptr; }

bool lets_in(const NodeInfo& node, const PodInfo& pod) {
  const PodSpec& spec = spec_of(pod);
  if (node.unschedulable && !tolerates_unschedulable(spec)) return false;
  if (!node.taints.empty() && untolerated(node, spec) != nullptr) return false;
  if (spec.node_selector() == nullptr && spec.affinity() == nullptr) return true;
  return matches_selectors(node, pod);
}

bool fits(const NodeInfo& node, const PodInfo& pod) {
  if (!node.object || !has_resources(node, pod)) return false;
  if (!pod.ports.empty() && !ports_free(node, pod)) return false;
  return lets_in(node, pod);
}

Diagnosis diagnose(const Cluster& cluster, const PodInfo& pod, const NodeFilter& also) {
  Diagnosis why;
  why.nodes = cluster.node_count();
  const PodSpec& spec = spec_of(pod);
  for (const NodeInfo& node : cluster.nodes()) {
    if (!node.object) continue;
    // In the order of kube-scheduler: a node counts for the first filter that refuses it.
    if (node.unschedulable && !tolerates_unschedulable(spec)) {
      ++why.reasons["node(s) were unschedulable"];
    } else if (const Taint* taint = untolerated(node, spec)) {
      ++why.reasons[fmt::format("node(s) had untolerated taint {{{}: {}}}", str(taint->key()), str(taint->value()))];
    } else if (!matches_selectors(node, pod)) {
      ++why.reasons["node(s) didn't match Pod's node affinity/selector"];
    } else if (!ports_free(node, pod)) {
      ++why.reasons["node(s) didn't have free ports for the requested pod ports"];
    } else if (const auto missing = missing_resources(node, pod); !missing.empty()) {
      for (const std::string& reason : missing) ++why.reasons[reason];
    } else if (const char* other = also ? also(node) : nullptr) {
      ++why.reasons[other];
    }
  }
  return why;
}

std::string Diagnosis::message() const {
  if (nodes == 0) return "no nodes available to schedule pods";
  std::vector<std::string> parts;
  for (const auto& [reason, n] : reasons) parts.push_back(fmt::format("{} {}", n, reason));
  std::sort(parts.begin(), parts.end());
  return fmt::format("0/{} nodes are available: {}.", nodes, fmt::join(parts, ", "));
}

}  // namespace gantry::scheduler
