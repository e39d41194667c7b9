#include <fmt/format.h>

#include "libs/model/names.h"
#include "services/apigw/rules/kinds.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

using model::str;
namespace core = api::core_v1;

constexpr const char* kPodUpdate =
    "pod updates may not change fields other than "
    "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,"
    "`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be "
    "set to 1 if it was previously "
    "negative)";

void validate_tolerations(const core::PodSpec& spec, const std::string& at, Problems& problems) {
  for (flatbuffers::uoffset_t i = 0; spec.tolerations() != nullptr && i < spec.tolerations()->size(); ++i) {
    const auto& t = *spec.tolerations()->Get(i);
    const std::string path = fmt::format("{}.tolerations[{}]", at, i);
    const std::string_view op = str(t.operator_()), effect = str(t.effect());
    if (!str(t.key()).empty()) {
      problems.check(path + ".key", str(t.key()), model::check_qualified_name(str(t.key())));
    } else if (op != "Exists") {
      problems.invalid(path + ".operator", op,
                       "operator must be Exists when `key` is empty, which means \"match all values and all keys\"");
    }
    if (t.toleration_seconds() && effect != "NoExecute") {
      problems.invalid(path + ".effect", effect, "effect must be 'NoExecute' when `tolerationSeconds` is set");
    }
    if (op == "Exists") {
      if (!str(t.value()).empty())
        problems.invalid(path + ".operator", str(t.value()), "value must be empty when `operator` is 'Exists'");
    } else if (op.empty() || op == "Equal") {
      problems.check(path + ".operator", str(t.value()), model::check_label_value(str(t.value())));
    } else {
      problems.unsupported(path + ".operator", op, {"Equal", "Exists"});
    }
    if (!effect.empty() && effect != "NoSchedule" && effect != "PreferNoSchedule" && effect != "NoExecute") {
      problems.unsupported(path + ".effect", effect, {"NoSchedule", "PreferNoSchedule", "NoExecute"});
    }
  }
}

void validate_dns(const core::PodSpec& spec, const std::string& at, Problems& problems) {
  const std::string_view policy = str(spec.dns_policy());
  if (policy.empty()) {
    problems.required(at + ".dnsPolicy");
  } else if (policy != "ClusterFirstWithHostNet" && policy != "ClusterFirst" && policy != "Default" &&
             policy != "None") {
    problems.unsupported(at + ".dnsPolicy", policy, {"ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"});
  } else if (policy == "None" && (spec.dns_config() == nullptr || spec.dns_config()->nameservers() == nullptr)) {
    problems.required(at + ".dnsConfig.nameservers",
                      "must provide at least one DNS nameserver when `dnsPolicy` is None");
  }
}

void validate_node_selector_terms(const core::NodeSelector* selector, const std::string& at, Problems& problems) {
  if (selector == nullptr) return;
  const auto* terms = selector->node_selector_terms();
  if (terms == nullptr || terms->size() == 0)
    return problems.required(at + ".nodeSelectorTerms", "must have at least one node selector term");
  for (flatbuffers::uoffset_t i = 0; i < terms->size(); ++i) {
    const auto* expressions = terms->Get(i)->match_expressions();
    for (flatbuffers::uoffset_t j = 0; expressions != nullptr && j < expressions->size(); ++j) {
      const auto& e = *expressions->Get(j);
      const std::string path = fmt::format("{}.nodeSelectorTerms[{}].matchExpressions[{}]", at, i, j);
      const std::string_view op = str(e.operator_());
      const size_t values = e.values() == nullptr ? 0 : e.values()->size();
      if (op == "In" || op == "NotIn") {
        if (values == 0) problems.required(path + ".values", "must be specified when `operator` is 'In' or 'NotIn'");
      } else if (op == "Exists" || op == "DoesNotExist") {
        if (values > 0)
          problems.forbidden(path + ".values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'");
      } else if (op == "Gt" || op == "Lt") {
        if (values != 1)
          problems.required(path + ".values", "must be specified single value when `operator` is 'Lt' or 'Gt'");
      } else {
        problems.invalid(path + ".operator", op, "not a valid selector operator");
      }
      problems.check(path + ".key", str(e.key()), model::check_qualified_name(str(e.key())));
    }
  }
}

// Everything of the spec that may change is put back: what then differs may not.
model::Object without_allowed_changes(const model::Object& now, const model::Object& before) {
  const auto *new_spec = now.as<core::Pod>()->spec(), *old_spec = before.as<core::Pod>()->spec();
  model::Draft draft(now);
  const auto restore_images = [&](const auto* list, const auto* old_list, const char* field) {
    for (flatbuffers::uoffset_t i = 0;
         list != nullptr && old_list != nullptr && i < list->size() && i < old_list->size(); ++i) {
      draft.copy_field(fmt::format("spec.{}[{}]", field, i), "image",
                       reinterpret_cast<const flatbuffers::Table*>(old_list->Get(i)));
    }
  };
  restore_images(new_spec->containers(), old_spec->containers(), "containers");
  restore_images(new_spec->init_containers(), old_spec->init_containers(), "initContainers");
  const auto* old_table = reinterpret_cast<const flatbuffers::Table*>(old_spec);
  draft.copy_field("spec", "activeDeadlineSeconds", old_table);
  draft.copy_field("spec", "tolerations", old_table);
  draft.copy_field("spec", "schedulingGates", old_table);
  if (old_spec->termination_grace_period_seconds().value_or(0) < 0)
    draft.copy_field("spec", "terminationGracePeriodSeconds", old_table);
  return draft.build();
}

size_t count(const auto* list) { return list == nullptr ? 0 : list->size(); }

bool same_toleration(const core::Toleration& a, const core::Toleration& b) {
  return str(a.key()) == str(b.key()) && str(a.operator_()) == str(b.operator_()) && str(a.value()) == str(b.value()) &&
         str(a.effect()) == str(b.effect());
}

void check_tolerations_kept(const core::PodSpec& now, const core::PodSpec& before, Problems& problems) {
  if (before.tolerations() == nullptr) return;
  for (const auto* old : *before.tolerations()) {
    bool kept = false;
    for (flatbuffers::uoffset_t i = 0; i < count(now.tolerations()); ++i)
      kept = kept || same_toleration(*now.tolerations()->Get(i), *old);
    if (!kept)
      return problems.forbidden("spec.tolerations",
                                "existing toleration can not be modified except its tolerationSeconds");
  }
}

}  // namespace

void validate_pod_spec(const core::PodSpec* spec, const std::string& at, Problems& problems) {
  if (spec == nullptr) return problems.required(at + ".containers");
  validate_volumes(*spec, at, problems);
  validate_containers(*spec, at, problems);
  const std::string_view restart = str(spec->restart_policy());
  if (restart != "Always" && restart != "OnFailure" && restart != "Never") {
    problems.unsupported(at + ".restartPolicy", restart, {"Always", "OnFailure", "Never"});
  }
  validate_dns(*spec, at, problems);
  if (spec->termination_grace_period_seconds().value_or(0) < 0) {
    problems.invalid(at + ".terminationGracePeriodSeconds", *spec->termination_grace_period_seconds(),
                     "must be greater than or equal to 0");
  }
  if (spec->active_deadline_seconds() && *spec->active_deadline_seconds() < 1) {
    problems.invalid(at + ".activeDeadlineSeconds", *spec->active_deadline_seconds(),
                     "must be between 1 and 2147483647, inclusive");
  }
  validate_labels(spec->node_selector(), at + ".nodeSelector", problems);
  validate_tolerations(*spec, at, problems);
  if (spec->affinity() != nullptr && spec->affinity()->node_affinity() != nullptr) {
    validate_node_selector_terms(
        spec->affinity()->node_affinity()->required_during_scheduling_ignored_during_execution(),
        at + ".affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution", problems);
  }
  const auto check_name = [&](const char* field, const flatbuffers::String* name, auto check) {
    if (!str(name).empty()) problems.check(fmt::format("{}.{}", at, field), str(name), check(str(name)));
  };
  check_name("nodeName", spec->node_name(), model::check_dns_subdomain);
  check_name("serviceAccountName", spec->service_account_name(), model::check_dns_subdomain);
  check_name("hostname", spec->hostname(), model::check_dns_label);
  check_name("subdomain", spec->subdomain(), model::check_dns_label);
}

void validate_pod(const model::Object& pod, Problems& problems) {
  validate_pod_spec(pod.as<core::Pod>()->spec(), "spec", problems);
}

void validate_pod_update(const model::Object& now, const model::Object& before, Problems& problems) {
  const auto *new_spec = now.as<core::Pod>()->spec(), *old_spec = before.as<core::Pod>()->spec();
  if (new_spec == nullptr || old_spec == nullptr) return;
  for (const auto& [field, size, old_size] :
       {std::tuple{"spec.containers", count(new_spec->containers()), count(old_spec->containers())},
        std::tuple{"spec.initContainers", count(new_spec->init_containers()), count(old_spec->init_containers())}}) {
    if (size != old_size) return problems.forbidden(field, "pod updates may not add or remove containers");
  }
  check_tolerations_kept(*new_spec, *old_spec, problems);
  const model::Object rest = without_allowed_changes(now, before);
  if (!same_part(rest, before, "spec")) {
    problems.forbidden("spec", kPodUpdate);
  }
}

}  // namespace gantry::apigw
