#include "services/controllers/daemonset/members.h"

#include "libs/model/node_selector.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/framework/pods.h"
#include "services/controllers/framework/revisions.h"

namespace gantry::controllers {
namespace {

using api::apps_v1::DaemonSet;
using api::core_v1::Node;
using api::core_v1::Pod;
using api::core_v1::PodSpec;
using api::core_v1::Taint;
using model::str;

struct Tolerated {
  const char *key, *effect;
  bool host_network_only;
};
constexpr Tolerated kTolerated[] = {{"node.kubernetes.io/not-ready", "NoExecute", false},
                                    {"node.kubernetes.io/unreachable", "NoExecute", false},
                                    {"node.kubernetes.io/disk-pressure", "NoSchedule", false},
                                    {"node.kubernetes.io/memory-pressure", "NoSchedule", false},
                                    {"node.kubernetes.io/pid-pressure", "NoSchedule", false},
                                    {"node.kubernetes.io/unschedulable", "NoSchedule", false},
                                    {"node.kubernetes.io/network-unavailable", "NoSchedule", true}};

const PodSpec* spec_of(const model::Object& set) {
  const auto* pod_template = set.as<DaemonSet>()->spec()->template_();
  return pod_template == nullptr ? nullptr : pod_template->spec();
}

/// nodeSelector and required affinity.
bool selects(const PodSpec& spec, const model::Object& node) {
  const auto* labels = node.meta()->labels();
  if (spec.node_selector() != nullptr) {
    for (const auto* entry : *spec.node_selector()) {
      const auto* label = model::lookup(labels, str(entry->key()));
      if (label == nullptr || str(label) != str(entry->value())) return false;
    }
  }
  const auto* affinity = spec.affinity() == nullptr ? nullptr : spec.affinity()->node_affinity();
  const auto* required =
      affinity == nullptr ? nullptr : affinity->required_during_scheduling_ignored_during_execution();
  return required == nullptr || model::matches(required, labels, node.name());
}

bool tolerates(const PodSpec& spec, const Taint& taint) {
  for (const Tolerated& t : kTolerated) {
    if (t.host_network_only && !spec.host_network().value_or(false)) continue;
    if (str(taint.key()) == t.key && str(taint.effect()) == t.effect) return true;
  }
  return model::toleration_for(&spec, taint) != nullptr;
}

}  // namespace

Place place_of(const model::Object& set, const model::Object& node) {
  const PodSpec* spec = spec_of(set);
  if (spec == nullptr) return {};
  const std::string_view name = str(spec->node_name());
  if ((!name.empty() && name != node.name()) || !selects(*spec, node)) return {};
  const auto* node_spec = node.as<Node>()->spec();
  Place place{true, true};
  if (node_spec == nullptr || node_spec->taints() == nullptr) return place;
  for (const Taint* taint : *node_spec->taints()) {
    const std::string_view effect = str(taint->effect());
    if ((effect != "NoSchedule" && effect != "NoExecute") || tolerates(*spec, *taint)) continue;
    place.run = false;
    if (effect == "NoExecute") place.stay = false;
  }
  return place;
}

std::string node_of(const model::Object& object) {
  const PodSpec* spec = object.as<Pod>()->spec();
  if (spec == nullptr) return "";
  if (spec->node_name() != nullptr && spec->node_name()->size() > 0) return std::string(str(spec->node_name()));
  const auto* affinity = spec->affinity() == nullptr ? nullptr : spec->affinity()->node_affinity();
  const auto* required =
      affinity == nullptr ? nullptr : affinity->required_during_scheduling_ignored_during_execution();
  if (required == nullptr || required->node_selector_terms() == nullptr) return "";
  for (const auto* term : *required->node_selector_terms()) {
    if (term->match_fields() == nullptr) continue;
    for (const auto* field : *term->match_fields()) {
      if (str(field->key()) == "metadata.name" && str(field->operator_()) == "In" && field->values() != nullptr &&
          field->values()->size() == 1)
        return std::string(str(field->values()->Get(0)));
    }
  }
  return "";
}

model::Bytes make_daemon(const model::Object& set, std::string_view node, std::string_view hash) {
  const PodSpec& spec = *spec_of(set);
  model::Draft pod = pod_from_template(set, set.as<DaemonSet>()->spec()->template_());
  pod.set("metadata.generateName", name_prefix(set.name()));
  pod.set(fmt::format("metadata.labels[{}]", kRevisionHash), hash);
  const std::string required = "spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution";
  pod.clear(required);  // the set's own has been looked at
  const std::string field = required + ".nodeSelectorTerms[0].matchFields[0]";
  pod.set(required + ".nodeSelectorTerms[+].matchFields[+].key", "metadata.name");
  pod.set(field + ".operator", "In");
  pod.set(field + ".values[+]", node);
  size_t n = spec.tolerations() == nullptr ? 0 : spec.tolerations()->size();
  for (const Tolerated& t : kTolerated) {
    if (t.host_network_only && !spec.host_network().value_or(false)) continue;
    pod.set("spec.tolerations[+].key", t.key);
    pod.set(fmt::format("spec.tolerations[{}].operator", n), "Exists");
    pod.set(fmt::format("spec.tolerations[{}].effect", n++), t.effect);
  }
  return pod.bytes();
}

}  // namespace gantry::controllers
