#include <fmt/format.h>

#include <set>

#include "libs/model/names.h"
#include "schemas/api/coordination_v1_generated.h"
#include "services/apigw/rules/kinds.h"

namespace gantry::apigw {

using model::str;
namespace core = api::core_v1;

void validate_node(const model::Object& node, Problems& problems) {
  const auto* spec = node.as<core::Node>()->spec();
  std::set<std::string> seen;
  for (flatbuffers::uoffset_t i = 0; spec != nullptr && spec->taints() != nullptr && i < spec->taints()->size(); ++i) {
    const auto& taint = *spec->taints()->Get(i);
    const std::string at = fmt::format("spec.taints[{}]", i);
    problems.check(at + ".key", str(taint.key()), model::check_qualified_name(str(taint.key())));
    problems.check(at + ".value", str(taint.value()), model::check_label_value(str(taint.value())));
    const std::string_view effect = str(taint.effect());
    if (effect.empty()) {
      problems.required(at + ".effect");
    } else if (effect != "NoSchedule" && effect != "PreferNoSchedule" && effect != "NoExecute") {
      problems.unsupported(at + ".effect", effect, {"NoSchedule", "PreferNoSchedule", "NoExecute"});
    }
    if (!seen.insert(fmt::format("{}:{}", str(taint.key()), effect)).second)
      problems.duplicate(at, fmt::format("{}:{}", str(taint.key()), effect));
  }
}

void validate_node_update(const model::Object& now, const model::Object& before, Problems& problems) {
  const auto *spec = now.as<core::Node>()->spec(), *old = before.as<core::Node>()->spec();
  const std::string_view cidr = old == nullptr ? std::string_view() : str(old->pod_cidr());
  if (!cidr.empty() && (spec == nullptr || str(spec->pod_cidr()) != cidr)) {
    problems.forbidden("spec.podCIDR", "node updates may not change podCIDR except from \"\" to valid");
  }
}

void validate_lease(const model::Object& lease, Problems& problems) {
  const auto* spec = lease.as<api::coordination_v1::Lease>()->spec();
  if (spec == nullptr) return;
  if (spec->lease_duration_seconds() && *spec->lease_duration_seconds() <= 0) {
    problems.invalid("spec.leaseDurationSeconds", *spec->lease_duration_seconds(), "must be greater than 0");
  }
  if (spec->lease_transitions().value_or(0) < 0) {
    problems.invalid("spec.leaseTransitions", *spec->lease_transitions(), "must be greater than or equal to 0");
  }
}

void validate_event(const model::Object& event, Problems& problems) {
  const auto* involved = event.as<core::Event>()->involved_object();
  const std::string_view ns = involved == nullptr ? std::string_view() : str(involved->namespace_());
  const bool cluster = ns.empty() && event.ns() == "default";
  if (!cluster && ns != event.ns()) problems.invalid("involvedObject.namespace", ns, "does not match event.namespace");
}

}  // namespace gantry::apigw
