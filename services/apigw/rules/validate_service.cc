#include <fmt/format.h>

#include <set>

#include "libs/model/names.h"
#include "schemas/api/discovery_v1_generated.h"
#include "services/apigw/rules/programs.h"

namespace gantry::apigw {
namespace {

using model::str;
namespace core = api::core_v1;
using flatbuffers::uoffset_t;

// Addresses that nothing outside a machine can reach.
std::string check_external_ip(std::string_view ip) {
  if (auto wrong = check_ip(ip); !wrong.empty()) return wrong;
  if (ip == "0.0.0.0" || ip == "::") return fmt::format("may not be unspecified ({})", ip);
  if (ip.starts_with("127.") || ip == "::1") return "may not be in the loopback range (127.0.0.0/8, ::1/128)";
  if (ip.starts_with("169.254.") || ip.starts_with("fe80:"))
    return "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
  return "";
}

void validate_port(const core::ServicePort& port, const std::string& at, bool named, std::string_view type,
                   Problems& problems) {
  const std::string_view name = str(port.name());
  if (named && name.empty()) {
    problems.required(at + ".name");
  } else if (!name.empty()) {
    problems.check(at + ".name", name, model::check_dns_label(name));
  }
  const int number = port.port().value_or(0);
  if (number < 1 || number > 65535) problems.invalid(at + ".port", number, kPortRange);
  if (str(port.protocol()).empty()) problems.required(at + ".protocol");
  if (const auto* target = port.target_port()) {
    if (target->int_value() && (*target->int_value() < 1 || *target->int_value() > 65535)) {
      problems.invalid(at + ".targetPort", *target->int_value(), kPortRange);
    } else if (!target->int_value()) {
      problems.check(at + ".targetPort", str(target->str_value()), model::check_port_name(str(target->str_value())));
    }
  }
  const int node_port = port.node_port().value_or(0);
  if (type == "ClusterIP" && node_port != 0)
    problems.forbidden(at + ".nodePort", "may not be used when `type` is 'ClusterIP'");
  if (node_port < 0 || node_port > 65535)
    problems.invalid(at + ".nodePort", node_port, "must be between 0 and 65535, inclusive");
}

void validate_ports(const core::ServiceSpec& spec, std::string_view type, Problems& problems) {
  const bool headless = str(spec.cluster_ip()) == "None";
  const size_t n = spec.ports() == nullptr ? 0 : spec.ports()->size();
  if (n == 0 && !headless && type != "ExternalName") problems.required("spec.ports");
  std::set<std::string_view> names;
  std::set<std::string> numbers, node_ports;
  for (uoffset_t i = 0; i < n; ++i) {
    const auto& port = *spec.ports()->Get(i);
    const std::string at = fmt::format("spec.ports[{}]", i);
    validate_port(port, at, n > 1, type, problems);
    if (!str(port.name()).empty() && !names.insert(str(port.name())).second)
      problems.duplicate(at + ".name", str(port.name()));
    const std::string number = fmt::format("{}/{}", str(port.protocol()), port.port().value_or(0));
    if (!numbers.insert(number).second)
      problems.duplicate_json(
          at, fmt::format("{{\"protocol\":{},\"port\":{}}}", quoted(str(port.protocol())), port.port().value_or(0)));
    const int node_port = port.node_port().value_or(0);
    if (node_port != 0 && !node_ports.insert(fmt::format("{}/{}", str(port.protocol()), node_port)).second) {
      problems.duplicate_json(at + ".nodePort", std::to_string(node_port));
    }
  }
}

void validate_affinity(const core::ServiceSpec& spec, Problems& problems) {
  const auto* config = spec.session_affinity_config();
  if (str(spec.session_affinity()) != "ClientIP") {
    if (config != nullptr)
      problems.forbidden("spec.sessionAffinityConfig",
                         fmt::format("must not be set when session affinity is {}", str(spec.session_affinity())));
    return;
  }
  const auto* client = config == nullptr ? nullptr : config->client_ip();
  if (client == nullptr || !client->timeout_seconds())
    return problems.required("spec.sessionAffinityConfig.clientIP.timeoutSeconds", "when session affinity is ClientIP");
  const int seconds = *client->timeout_seconds();
  if (seconds <= 0 || seconds > 86400)
    problems.invalid("spec.sessionAffinityConfig.clientIP.timeoutSeconds", seconds,
                     "must be greater than 0 and less than 86400");
}

std::string check_address(std::string_view address, std::string_view type) {
  if (type == "FQDN") return model::check_dns_subdomain(address);
  if (!valid_ip(address)) return check_ip(address);
  const bool four = address.find(':') == std::string_view::npos;
  if (type == "IPv4" && !four) return "must be an IPv4 address";
  if (type == "IPv6" && four) return "must be an IPv6 address";
  return "";
}

// What only Services that are reached from outside may say.
void validate_outside(const core::ServiceSpec& spec, std::string_view type, Problems& problems) {
  const bool external = one_of(type, {"NodePort", "LoadBalancer"}) || count(spec.external_ips()) > 0;
  if (!str(spec.external_traffic_policy()).empty() && !external)
    problems.invalid("spec.externalTrafficPolicy", str(spec.external_traffic_policy()),
                     "may only be set for externally-accessible services");
  for (uoffset_t i = 0; i < count(spec.external_ips()); ++i) {
    const std::string_view ip = str(spec.external_ips()->Get(i));
    problems.check(fmt::format("spec.externalIPs[{}]", i), ip, check_external_ip(ip));
  }
  for (uoffset_t i = 0; i < count(spec.load_balancer_source_ranges()); ++i) {
    const std::string_view range = str(spec.load_balancer_source_ranges()->Get(i));
    problems.check(fmt::format("spec.loadBalancerSourceRanges[{}]", i), range, check_cidr(range));
  }
  if (spec.health_check_node_port().value_or(0) != 0 &&
      (type != "LoadBalancer" || str(spec.external_traffic_policy()) != "Local"))
    problems.invalid("spec.healthCheckNodePort", *spec.health_check_node_port(),
                     "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
  if (type == "LoadBalancer") return;
  constexpr const char* kDetail = "may only be used when `type` is 'LoadBalancer'";
  if (count(spec.load_balancer_source_ranges()) > 0) problems.forbidden("spec.loadBalancerSourceRanges", kDetail);
  if (spec.allocate_load_balancer_node_ports()) problems.forbidden("spec.allocateLoadBalancerNodePorts", kDetail);
  if (spec.load_balancer_class() != nullptr) problems.forbidden("spec.loadBalancerClass", kDetail);
}

// The cluster has IPv4 alone.
void validate_families(const core::ServiceSpec& spec, Problems& problems) {
  for (uoffset_t i = 0; i < count(spec.ip_families()); ++i) {
    const std::string_view family = str(spec.ip_families()->Get(i));
    if (family != "IPv4")
      problems.invalid(fmt::format("spec.ipFamilies[{}]", i), family, "not configured on this cluster");
  }
  if (str(spec.ip_family_policy()) == "RequireDualStack") {
    problems.invalid("spec.ipFamilyPolicy", str(spec.ip_family_policy()),
                     "this cluster is not configured for dual-stack services");
  }
}

}  // namespace

void validate_service(const model::Object& service, Problems& problems) {
  const auto* spec = service.as<core::Service>()->spec();
  if (spec == nullptr) return problems.required("spec.ports");
  const std::string_view type = str(spec->type());
  validate_ports(*spec, type, problems);
  const std::string_view ip = str(spec->cluster_ip());
  if (ip == "None" && (type == "NodePort" || type == "LoadBalancer")) {
    problems.invalid("spec.clusterIPs[0]", ip, fmt::format("may not be set to 'None' for {} services", type));
  } else if (!ip.empty() && ip != "None" && !valid_ip(ip)) {
    problems.invalid("spec.clusterIPs[0]", ip, check_ip(ip));
  }
  if (type == "ExternalName") {
    std::string_view name = str(spec->external_name());
    if (name.ends_with('.')) name.remove_suffix(1);
    if (name.empty()) {
      problems.required("spec.externalName");
    } else {
      problems.check("spec.externalName", str(spec->external_name()), model::check_dns_subdomain(name));
    }
    if (!ip.empty()) problems.forbidden("spec.clusterIPs", "may not be set for ExternalName services");
  }
  validate_families(*spec, problems);
  validate_labels(spec->selector(), "spec.selector", problems);
  validate_affinity(*spec, problems);
  validate_outside(*spec, type, problems);
}

void validate_service_update(const model::Object& now, const model::Object& before, Problems& problems) {
  const auto *spec = now.as<core::Service>()->spec(), *old = before.as<core::Service>()->spec();
  if (spec == nullptr || old == nullptr) return;
  const bool balanced = str(spec->type()) == "LoadBalancer" && str(old->type()) == "LoadBalancer";
  if (balanced && str(spec->load_balancer_class()) != str(old->load_balancer_class()))
    problems.invalid("spec.loadBalancerClass", str(spec->load_balancer_class()), "may not change once set");
  if (str(spec->type()) == "ExternalName" || str(old->type()) == "ExternalName") return;
  if (!str(old->cluster_ip()).empty() && str(spec->cluster_ip()) != str(old->cluster_ip())) {
    problems.invalid_json("spec.clusterIPs[0]", fmt::format("[{}]", quoted(str(spec->cluster_ip()))),
                          "may not change once set");
  }
}

void validate_endpointslice(const model::Object& object, Problems& problems) {
  const auto* slice = object.as<api::discovery_v1::EndpointSlice>();
  const std::string_view type = str(slice->address_type());
  if (type.empty()) {
    problems.required("addressType");
  } else if (!one_of(type, {"IPv4", "IPv6", "FQDN"})) {
    problems.unsupported("addressType", type, {"IPv4", "IPv6", "FQDN"});
  }
  if (count(slice->endpoints()) > 1000)
    problems.invalid_json("endpoints", std::to_string(count(slice->endpoints())), "must have at most 1000 items");
  for (uoffset_t i = 0; i < count(slice->endpoints()); ++i) {
    const auto* addresses = slice->endpoints()->Get(i)->addresses();
    const std::string at = fmt::format("endpoints[{}].addresses", i);
    if (count(addresses) == 0) problems.required(at, "must contain at least 1 address");
    if (count(addresses) > 100)
      problems.invalid_json(at, std::to_string(count(addresses)), "must have at most 100 items");
    for (uoffset_t j = 0; j < count(addresses); ++j) {
      const std::string_view address = str(addresses->Get(j));
      problems.check(fmt::format("{}[{}]", at, j), address, check_address(address, type));
    }
  }
  std::set<std::string_view> names;
  for (uoffset_t i = 0; slice->ports() != nullptr && i < slice->ports()->size(); ++i) {
    const auto name = str(slice->ports()->Get(i)->name());
    if (!names.insert(name).second) problems.duplicate(fmt::format("ports[{}].name", i), name);
  }
}

void validate_endpointslice_update(const model::Object& now, const model::Object& before, Problems& problems) {
  const auto type = str(now.as<api::discovery_v1::EndpointSlice>()->address_type());
  if (type != str(before.as<api::discovery_v1::EndpointSlice>()->address_type()))
    problems.invalid("addressType", type, kImmutable);
}

}  // namespace gantry::apigw
