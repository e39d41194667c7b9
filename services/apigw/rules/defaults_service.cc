#include <fmt/format.h>

#include "schemas/api/discovery_v1_generated.h"
#include "services/apigw/rules/kinds.h"

namespace gantry::apigw {

using model::str;
namespace core = api::core_v1;

namespace {

bool unset(const api::meta_v1::IntOrString* value) {
  return value == nullptr || (value->int_value().value_or(0) == 0 && str(value->str_value()).empty());
}

}  // namespace

void default_service(model::Draft& draft, const model::Object& given) {
  const auto* spec = given.as<core::Service>()->spec();
  if (spec == nullptr) return;
  const std::string_view type = str(spec->type()).empty() ? "ClusterIP" : str(spec->type());
  if (str(spec->session_affinity()) == "ClientIP" &&
      (spec->session_affinity_config() == nullptr || spec->session_affinity_config()->client_ip() == nullptr)) {
    draft.set("spec.sessionAffinityConfig.clientIP.timeoutSeconds", 10800);
  }
  if (str(spec->session_affinity()) != "ClientIP") draft.clear("spec.sessionAffinityConfig");
  for (flatbuffers::uoffset_t i = 0; spec->ports() != nullptr && i < spec->ports()->size(); ++i) {
    const auto& port = *spec->ports()->Get(i);
    const std::string path = fmt::format("spec.ports[{}]", i);
    if (unset(port.target_port())) draft.set(path + ".targetPort", port.port().value_or(0));
  }
  if (type == "ExternalName") return;
  if (str(spec->internal_traffic_policy()).empty()) draft.set("spec.internalTrafficPolicy", "Cluster");
  if (spec->ip_families() == nullptr || spec->ip_families()->size() == 0) draft.set("spec.ipFamilies[+]", "IPv4");
  if (str(spec->ip_family_policy()).empty()) draft.set("spec.ipFamilyPolicy", "SingleStack");
  const bool external = type == "NodePort" || type == "LoadBalancer";
  if (external && str(spec->external_traffic_policy()).empty()) draft.set("spec.externalTrafficPolicy", "Cluster");
  if (!external && str(spec->external_traffic_policy()) == "Cluster") draft.clear("spec.externalTrafficPolicy");
  if (type == "LoadBalancer" && !spec->allocate_load_balancer_node_ports())
    draft.set("spec.allocateLoadBalancerNodePorts", true);
}

void default_endpointslice(model::Draft& draft, const model::Object& given) {
  const auto* ports = given.as<api::discovery_v1::EndpointSlice>()->ports();
  for (flatbuffers::uoffset_t i = 0; ports != nullptr && i < ports->size(); ++i) {
    const std::string path = fmt::format("ports[{}]", i);
    if (ports->Get(i)->name() == nullptr) draft.set(path + ".name", "");
  }
}

void follow_type(model::Draft& draft, const model::Object& now, const model::Object& before) {
  const auto *spec = now.as<core::Service>()->spec(), *old = before.as<core::Service>()->spec();
  if (spec == nullptr || old == nullptr || str(spec->type()) == str(old->type())) return;
  const std::string_view type = str(spec->type()), was = str(old->type());
  if (was == "LoadBalancer") {
    if (spec->allocate_load_balancer_node_ports() == old->allocate_load_balancer_node_ports())
      draft.clear("spec.allocateLoadBalancerNodePorts");
    if (str(spec->load_balancer_class()) == str(old->load_balancer_class())) draft.clear("spec.loadBalancerClass");
    if (spec->health_check_node_port() == old->health_check_node_port()) draft.clear("spec.healthCheckNodePort");
  }
  const auto outside = [](std::string_view t) { return t == "NodePort" || t == "LoadBalancer"; };
  if (outside(was) && !outside(type) && str(spec->external_traffic_policy()) == str(old->external_traffic_policy()))
    draft.clear("spec.externalTrafficPolicy");
  if (type != "ExternalName") return;
  if (str(spec->internal_traffic_policy()) == str(old->internal_traffic_policy()))
    draft.clear("spec.internalTrafficPolicy");
  if (str(spec->ip_family_policy()) == str(old->ip_family_policy())) {
    draft.clear("spec.ipFamilyPolicy");
    draft.clear("spec.ipFamilies");
  }
}

}  // namespace gantry::apigw
