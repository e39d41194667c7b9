#include <fmt/format.h>

#include <set>

#include "libs/model/names.h"
#include "services/apigw/rules/programs.h"
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
  }
}

void validate_dns(const core::PodSpec& spec, const std::string& at, Problems& problems) {
  const std::string_view policy = str(spec.dns_policy());
  if (policy.empty()) {
    problems.required(at + ".dnsPolicy");
  } else if (policy == "None" && (spec.dns_config() == nullptr || spec.dns_config()->nameservers() == nullptr)) {
    problems.required(at + ".dnsConfig.nameservers",
                      "must provide at least one DNS nameserver when `dnsPolicy` is None");
  }
}

void validate_lists(const core::PodSpec& spec, const std::string& at, Problems& problems) {
  std::set<std::string> spreads;
  for (flatbuffers::uoffset_t i = 0; i < count(spec.topology_spread_constraints()); ++i) {
    const auto& c = *spec.topology_spread_constraints()->Get(i);
    const std::string key = fmt::format("{{{}, {}}}", str(c.topology_key()), str(c.when_unsatisfiable()));
    if (!spreads.insert(key).second)
      problems.duplicate(fmt::format("{}.topologySpreadConstraints[{}].{{topologyKey, whenUnsatisfiable}}", at, i),
                         key);
  }
  const auto unique = [&](const auto* list, const char* field, auto name_of) {
    std::set<std::string_view> names;
    for (flatbuffers::uoffset_t i = 0; i < count(list); ++i) {
      const std::string_view name = name_of(*list->Get(i));
      if (!name.empty() && !names.insert(name).second) problems.duplicate(fmt::format("{}.{}[{}]", at, field, i), name);
    }
  };
  unique(spec.scheduling_gates(), "schedulingGates", [](const auto& gate) { return str(gate.name()); });
  unique(spec.resource_claims(), "resourceClaims", [](const auto& claim) { return str(claim.name()); });
}

void validate_host(const core::PodSpec& spec, const std::string& at, Problems& problems) {
  if (spec.share_process_namespace().value_or(false) && spec.host_pid().value_or(false))
    problems.invalid_json(at + ".shareProcessNamespace", "true",
                          "ShareProcessNamespace and HostPID cannot both be enabled");
  if (spec.host_users().value_or(true)) return;
  constexpr const char* kDetail = "when `hostUsers` is false";
  if (spec.host_network().value_or(false)) problems.forbidden(at + ".hostNetwork", kDetail);
  if (spec.host_pid().value_or(false)) problems.forbidden(at + ".hostPID", kDetail);
  if (spec.host_ipc().value_or(false)) problems.forbidden(at + ".hostIPC", kDetail);
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
  // While it waits to be scheduled, what it asks of its node may become more.
  if (count(old_spec->scheduling_gates()) > 0) {
    draft.copy_field("spec", "nodeSelector", old_table);
    const bool had = old_spec->affinity() != nullptr && old_spec->affinity()->node_affinity() != nullptr;
    if (!had && new_spec->affinity() != nullptr) {
      draft.clear("spec.affinity.nodeAffinity");
      const auto* affinity = new_spec->affinity();
      if (affinity->pod_affinity() == nullptr && affinity->pod_anti_affinity() == nullptr &&
          old_spec->affinity() == nullptr)
        draft.clear("spec.affinity");
    }
  }
  if (old_spec->termination_grace_period_seconds().value_or(0) < 0)
    draft.copy_field("spec", "terminationGracePeriodSeconds", old_table);
  return draft.build();
}

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

void check_node_selector(const core::PodSpec& now, const core::PodSpec& before, Problems& problems) {
  for (flatbuffers::uoffset_t i = 0; i < count(before.node_selector()); ++i) {
    const auto& old = *before.node_selector()->Get(i);
    const auto* kept = model::lookup(now.node_selector(), str(old.key()));
    if (kept != nullptr && str(kept) == str(old.value())) continue;
    return problems.invalid_json("spec.nodeSelector", printed(now.node_selector()),
                                 "only additions to spec.nodeSelector are allowed (no mutations or deletions)");
  }
}

// A deadline may come and come nearer, not move away or go.
void check_deadline(const core::PodSpec& now, const core::PodSpec& before, Problems& problems) {
  const auto value = now.active_deadline_seconds(), old = before.active_deadline_seconds();
  if (!old) return;
  if (!value) {
    problems.invalid_json("spec.activeDeadlineSeconds", "null", "must not update from a positive integer to nil value");
  } else if (*value > *old) {
    problems.invalid("spec.activeDeadlineSeconds", *value, "must be less than or equal to previous value");
  }
}

void check_gates(const core::PodSpec& now, const core::PodSpec& before, Problems& problems) {
  for (flatbuffers::uoffset_t i = 0; i < count(now.scheduling_gates()); ++i) {
    const std::string_view name = str(now.scheduling_gates()->Get(i)->name());
    bool old = false;
    for (flatbuffers::uoffset_t j = 0; j < count(before.scheduling_gates()); ++j)
      old = old || str(before.scheduling_gates()->Get(j)->name()) == name;
    if (!old)
      problems.forbidden("spec.schedulingGates",
                         fmt::format("only deletion is allowed, but found new scheduling gate '{}'", name));
  }
}

}  // namespace

void validate_pod_spec(const core::PodSpec* spec, const std::string& at, Problems& problems,
                       const std::vector<std::string_view>& claims) {
  if (spec == nullptr) return problems.required(at + ".containers");
  validate_volumes(*spec, at, problems);
  validate_containers(*spec, at, problems, claims);
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
  validate_lists(*spec, at, problems);
  validate_host(*spec, at, problems);
}

void validate_pod(const model::Object& pod, Problems& problems) {
  const auto* spec = pod.as<core::Pod>()->spec();
  validate_pod_spec(spec, "spec", problems);
  if (spec == nullptr) return;
  if (count(spec->scheduling_gates()) > 0 && !str(spec->node_name()).empty())
    problems.forbidden("spec.nodeName", "cannot be set until all schedulingGates have been cleared");
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
  check_deadline(*new_spec, *old_spec, problems);
  check_gates(*new_spec, *old_spec, problems);
  if (count(old_spec->scheduling_gates()) > 0) check_node_selector(*new_spec, *old_spec, problems);
  const model::Object rest = without_allowed_changes(now, before);
  if (!same_part(rest, before, "spec")) {
    problems.forbidden("spec", kPodUpdate);
  }
}

}  // namespace gantry::apigw
