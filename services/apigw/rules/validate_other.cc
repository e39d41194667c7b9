#include <fmt/format.h>

#include <set>

#include "libs/model/names.h"
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
  const std::string_view provider = old == nullptr ? std::string_view() : str(old->provider_id());
  if (!provider.empty() && (spec == nullptr || str(spec->provider_id()) != provider))
    problems.forbidden("spec.providerID", "node updates may not change providerID except from \"\" to valid");
}

void validate_event(const model::Object& event, Problems& problems) {
  const auto* involved = event.as<core::Event>()->involved_object();
  const std::string_view ns = involved == nullptr ? std::string_view() : str(involved->namespace_());
  const bool cluster = ns.empty() && event.ns() == "default";
  if (!cluster && ns != event.ns()) problems.invalid("involvedObject.namespace", ns, "does not match event.namespace");
}

}  // namespace gantry::apigw
