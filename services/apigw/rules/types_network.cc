// Rules of networking: Ingresses, network policies, endpoints, address ranges.
#include <arpa/inet.h>

#include <cstring>
#include <set>

#include "libs/model/names.h"
#include "schemas/api/networking_v1_generated.h"
#include "services/apigw/rules/programs.h"

namespace gantry::apigw {
namespace {

using flatbuffers::uoffset_t;
using model::str;
namespace core = api::core_v1;
namespace net = api::networking_v1;

// --- Ingress

void host(std::string_view name, const std::string& at, Problems& problems) {
  if (name.empty()) return;
  if (valid_ip(name)) return problems.invalid(at, name, "must be a DNS name, not an IP address");
  problems.check(
      at, name,
      name.find('*') != std::string_view::npos ? check_wildcard_subdomain(name) : model::check_dns_subdomain(name));
}

void backend(const net::IngressBackend& b, const std::string& at, Problems& problems) {
  if (b.resource() != nullptr && b.service() != nullptr)
    return problems.invalid(at, "", "cannot set both resource and service backends");
  if (b.resource() != nullptr) return;
  if (b.service() == nullptr) return problems.required(at, "resource or service backend is required");
  const auto* port = b.service()->port();
  const bool name = port != nullptr && !str(port->name()).empty();
  const bool number = port != nullptr && port->number().value_or(0) != 0;
  if (name && number) problems.invalid(at, "", "cannot set both port name & port number");
  if (!name && !number) problems.required(at + ".service.port", "port name or number is required");
}

void path(const net::HTTPIngressPath& p, const std::string& at, Problems& problems) {
  const std::string_view type = str(p.path_type()), text = str(p.path());
  const std::string where = at + ".path";
  if (type == "ImplementationSpecific") {
    if (!text.empty() && !text.starts_with('/')) problems.invalid(where, text, "must be an absolute path");
    return;
  }
  if (!one_of(type, {"Exact", "Prefix"})) return;
  if (!text.starts_with('/')) problems.invalid(where, text, "must be an absolute path");
  for (const char* part : {"//", "/./", "/../", "%2f", "%2F"}) {
    if (text.find(part) != std::string_view::npos)
      problems.invalid(where, text, fmt::format("must not contain '{}'", part));
  }
  for (const char* end : {"/..", "/."}) {
    if (text.ends_with(end)) problems.invalid(where, text, fmt::format("cannot end with '{}'", end));
  }
}

void ingress(const net::IngressSpec& spec, const std::string& at, Problems& problems) {
  if (spec.default_backend() == nullptr && count(spec.rules()) == 0)
    problems.invalid_json(at, json_of("networking_v1.IngressSpec", &spec),
                          "either `defaultBackend` or `rules` must be specified");
  for (uoffset_t i = 0; i < count(spec.rules()); ++i)
    host(str(spec.rules()->Get(i)->host()), fmt::format("{}.rules[{}].host", at, i), problems);
  for (uoffset_t i = 0; i < count(spec.tls()); ++i) {
    const auto* hosts = spec.tls()->Get(i)->hosts();
    for (uoffset_t j = 0; j < count(hosts); ++j)
      host(str(hosts->Get(j)), fmt::format("{}.tls[{}].hosts[{}]", at, i, j), problems);
  }
}

void ingress_class(const net::IngressClassSpec& spec, const std::string& at, Problems& problems) {
  const std::string_view controller = str(spec.controller());
  if (controller.size() > 250) problems.too_long(at + ".controller", 250);
  if (!controller.empty()) problems.check(at + ".controller", controller, check_domain_path(controller));
  const auto* parameters = spec.parameters();
  if (parameters == nullptr) return;
  const std::string where = at + ".parameters";
  const std::string_view scope = str(parameters->scope());
  if (scope == "Namespace" && str(parameters->namespace_()).empty())
    problems.required(where + ".namespace", "`parameters.scope` is set to 'Namespace'");
  if (scope == "Cluster" && parameters->namespace_() != nullptr)
    problems.forbidden(where + ".namespace", "`parameters.scope` is set to 'Cluster'");
}

// --- NetworkPolicy

void policy_port(const net::NetworkPolicyPort& p, const std::string& at, Problems& problems) {
  const auto* port = p.port();
  const bool number = port != nullptr && port->int_value().has_value();
  if (number && (*port->int_value() < 1 || *port->int_value() > 65535))
    problems.invalid(at + ".port", *port->int_value(), kPortRange);
  if (port != nullptr && !number)
    problems.check(at + ".port", str(port->str_value()), model::check_port_name(str(port->str_value())));
  if (!p.end_port()) return;
  const int end = *p.end_port();
  if (port == nullptr) return problems.required(at + ".port", "may not be empty when endPort is specified");
  if (!number) return problems.invalid(at + ".endPort", end, "may not be specified when `port` is non-numeric");
  if (end < *port->int_value()) problems.invalid(at + ".endPort", end, "must be greater than or equal to `port`");
  if (end < 1 || end > 65535) problems.invalid(at + ".endPort", end, kPortRange);
}

struct Range {
  unsigned char bytes[16] = {};
  int bits = 0, family = 0;
};

bool parse(std::string_view cidr, Range& out) {
  if (!check_cidr(cidr).empty()) return false;
  const size_t slash = cidr.find('/');
  const std::string address(cidr.substr(0, slash));
  out.family = address.find(':') == std::string::npos ? AF_INET : AF_INET6;
  out.bits = std::atoi(std::string(cidr.substr(slash + 1)).c_str());
  return inet_pton(out.family, address.c_str(), out.bytes) == 1;
}

bool strictly_inside(const Range& inner, const Range& outer) {
  if (inner.family != outer.family || inner.bits <= outer.bits) return false;
  const int whole = outer.bits / 8, rest = outer.bits % 8;
  if (std::memcmp(inner.bytes, outer.bytes, static_cast<size_t>(whole)) != 0) return false;
  const int mask = rest == 0 ? 0 : (0xff << (8 - rest)) & 0xff;
  return rest == 0 || (inner.bytes[whole] & mask) == (outer.bytes[whole] & mask);
}

void ip_block(const net::IPBlock& block, const std::string& at, Problems& problems) {
  Range all, one;
  if (!parse(str(block.cidr()), all)) return;
  for (uoffset_t i = 0; i < count(block.except()); ++i) {
    const std::string_view text = str(block.except()->Get(i));
    if (parse(text, one) && !strictly_inside(one, all))
      problems.invalid(fmt::format("{}.except[{}]", at, i), text, "must be a strict subset of `cidr`");
  }
}

void peer(const net::NetworkPolicyPeer& p, const std::string& at, Problems& problems) {
  const int selectors = (p.pod_selector() != nullptr) + (p.namespace_selector() != nullptr);
  if (p.ip_block() != nullptr && selectors > 0) problems.forbidden(at, "may not specify both ipBlock and another peer");
  if (p.ip_block() == nullptr && selectors == 0) problems.required(at, "must specify a peer");
}

void policy(const net::NetworkPolicySpec& spec, const std::string& at, Problems& problems) {
  if (count(spec.policy_types()) <= 2) return;
  std::string list;
  for (const auto* type : *spec.policy_types()) list += (list.empty() ? "" : ",") + quoted(str(type));
  problems.invalid_json(at + ".policyTypes", "[" + list + "]", "may not specify more than two policyTypes");
}

// --- endpoints

// Loopback may stand here, other than in Kubernetes: the gateways of a cluster on one machine are endpoints of the
// Service kubernetes.
std::string check_endpoint_ip(std::string_view ip) {
  const auto in = [&](const char* range) {
    Range all, one;
    const std::string host = std::string(ip) + (ip.find(':') == std::string_view::npos ? "/32" : "/128");
    return parse(range, all) && parse(host, one) && strictly_inside(one, all);
  };
  if (ip == "0.0.0.0" || ip == "::") return fmt::format("may not be unspecified ({})", ip);
  if (in("169.254.0.0/16") || in("fe80::/10")) return "may not be in the link-local range (169.254.0.0/16, fe80::/10)";
  if (in("224.0.0.0/24") || in("ff02::/10"))
    return "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)";
  return "";
}

void endpoint_address(const core::EndpointAddress& address, const std::string& at, Problems& problems) {
  if (valid_ip(str(address.ip()))) problems.check(at + ".ip", str(address.ip()), check_endpoint_ip(str(address.ip())));
}

void subset(const core::EndpointSubset& s, const std::string& at, Problems& problems) {
  if (count(s.addresses()) == 0 && count(s.not_ready_addresses()) == 0)
    problems.required(at, "must specify `addresses` or `notReadyAddresses`");
  for (uoffset_t i = 0; count(s.ports()) > 1 && i < count(s.ports()); ++i) {
    if (str(s.ports()->Get(i)->name()).empty()) problems.required(fmt::format("{}.ports[{}].name", at, i));
  }
}

constexpr Program kPrograms[] = {
    {"networking_v1.IngressSpec", typed<net::IngressSpec, ingress>},
    {"networking_v1.IngressBackend", typed<net::IngressBackend, backend>},
    {"networking_v1.HTTPIngressPath", typed<net::HTTPIngressPath, path>},
    {"networking_v1.IngressClassSpec", typed<net::IngressClassSpec, ingress_class>},
    {"networking_v1.NetworkPolicySpec", typed<net::NetworkPolicySpec, policy>},
    {"networking_v1.NetworkPolicyPort", typed<net::NetworkPolicyPort, policy_port>},
    {"networking_v1.NetworkPolicyPeer", typed<net::NetworkPolicyPeer, peer>},
    {"networking_v1.IPBlock", typed<net::IPBlock, ip_block>},
    {"core_v1.EndpointAddress", typed<core::EndpointAddress, endpoint_address>},
    {"core_v1.EndpointSubset", typed<core::EndpointSubset, subset>},
};

}  // namespace

std::span<const Program> network_programs() { return kPrograms; }

}  // namespace gantry::apigw
