#include <arpa/inet.h>
#include <fmt/format.h>

#include <set>

#include "libs/model/names.h"
#include "schemas/api/discovery_v1_generated.h"
#include "services/apigw/rules/kinds.h"

namespace gantry::apigw {
namespace {

using model::str;
namespace core = api::core_v1;
using flatbuffers::uoffset_t;

constexpr const char* kPortRange = "must be between 1 and 65535, inclusive";
constexpr const char* kNoIp = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";

bool valid_ip(std::string_view text) {
  unsigned char buffer[sizeof(in6_addr)];
  const std::string ip(text);
  return inet_pton(AF_INET, ip.c_str(), buffer) == 1 || inet_pton(AF_INET6, ip.c_str(), buffer) == 1;
}

bool one_of(std::string_view value, std::initializer_list<std::string_view> values) {
  return std::find(values.begin(), values.end(), value) != values.end();
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
  const std::string_view protocol = str(port.protocol());
  if (!one_of(protocol, {"TCP", "UDP", "SCTP"}))
    problems.unsupported(at + ".protocol", protocol, {"TCP", "UDP", "SCTP"});
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
    if (!numbers.insert(number).second) problems.duplicate(at, number);
    const int node_port = port.node_port().value_or(0);
    if (node_port != 0 && !node_ports.insert(fmt::format("{}/{}", str(port.protocol()), node_port)).second) {
      problems.duplicate(at + ".nodePort", std::to_string(node_port));
    }
  }
}

}  // namespace

void validate_service(const model::Object& service, Problems& problems) {
  const auto* spec = service.as<core::Service>()->spec();
  if (spec == nullptr) return problems.required("spec.ports");
  const std::string_view type = str(spec->type());
  if (!one_of(type, {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"})) {
    problems.unsupported("spec.type", type, {"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"});
  }
  validate_ports(*spec, type, problems);
  const std::string_view ip = str(spec->cluster_ip());
  if (ip == "None" && (type == "NodePort" || type == "LoadBalancer")) {
    problems.invalid("spec.clusterIPs[0]", ip, fmt::format("may not be set to 'None' for {} services", type));
  } else if (!ip.empty() && ip != "None" && !valid_ip(ip)) {
    problems.invalid("spec.clusterIPs[0]", ip, kNoIp);
  }
  if (type == "ExternalName") {
    if (str(spec->external_name()).empty()) {
      problems.required("spec.externalName");
    } else {
      problems.check("spec.externalName", str(spec->external_name()),
                     model::check_dns_subdomain(str(spec->external_name())));
    }
  }
  const std::string_view affinity = str(spec->session_affinity());
  if (!one_of(affinity, {"ClientIP", "None"}))
    problems.unsupported("spec.sessionAffinity", affinity, {"ClientIP", "None"});
  validate_labels(spec->selector(), "spec.selector", problems);
  for (const auto& [value, field] : {std::pair{str(spec->external_traffic_policy()), "externalTrafficPolicy"},
                                     std::pair{str(spec->internal_traffic_policy()), "internalTrafficPolicy"}}) {
    if (!value.empty() && !one_of(value, {"Cluster", "Local"}))
      problems.unsupported(fmt::format("spec.{}", field), value, {"Cluster", "Local"});
  }
  if (!str(spec->external_traffic_policy()).empty() && !one_of(type, {"NodePort", "LoadBalancer"})) {
    problems.invalid("spec.externalTrafficPolicy", str(spec->external_traffic_policy()),
                     "may only be set for externally-accessible services");
  }
  for (uoffset_t i = 0; spec->external_ips() != nullptr && i < spec->external_ips()->size(); ++i) {
    const std::string_view external = str(spec->external_ips()->Get(i));
    if (!valid_ip(external)) problems.invalid(fmt::format("spec.externalIPs[{}]", i), external, kNoIp);
  }
}

void validate_service_update(const model::Object& now, const model::Object& before, Problems& problems) {
  const auto *spec = now.as<core::Service>()->spec(), *old = before.as<core::Service>()->spec();
  if (spec == nullptr || old == nullptr) return;
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
  for (uoffset_t i = 0; slice->endpoints() != nullptr && i < slice->endpoints()->size(); ++i) {
    const auto* addresses = slice->endpoints()->Get(i)->addresses();
    const std::string at = fmt::format("endpoints[{}].addresses", i);
    if (addresses == nullptr || addresses->size() == 0) {
      problems.required(at, "must contain at least 1 address");
      continue;
    }
    for (uoffset_t j = 0; j < addresses->size(); ++j) {
      if (type != "FQDN" && !valid_ip(str(addresses->Get(j))))
        problems.invalid(fmt::format("{}[{}]", at, j), str(addresses->Get(j)), kNoIp);
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
