#include "services/apigw/core/allocator.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "schemas/api/core_v1_generated.h"
#include "services/apigw/core/decode.h"
#include "services/apigw/core/world.h"

namespace gantry::apigw {
namespace {

using model::Object;
using model::str;
using state::Operation;
namespace core = api::core_v1;

std::string print_ip(uint32_t ip) {
  return fmt::format("{}.{}.{}.{}", ip >> 24, (ip >> 16) & 255, (ip >> 8) & 255, ip & 255);
}

std::optional<uint32_t> parse_ip(std::string_view text) {
  in_addr address{};
  if (inet_pton(AF_INET, std::string(text).c_str(), &address) != 1) return std::nullopt;
  return ntohl(address.s_addr);
}

std::string ip_claim(std::string_view ip) { return fmt::format("clusterip/{}", ip); }
std::string port_claim(std::string_view protocol, int port) { return fmt::format("nodeport/{}/{}", protocol, port); }
std::string_view protocol_of(const core::ServicePort& port) {
  return port.protocol() == nullptr ? "TCP" : str(port.protocol());
}

const core::ServiceSpec* spec_of(const Object& service) {
  return service ? service.as<core::Service>()->spec() : nullptr;
}
std::string_view type_of(const core::ServiceSpec* spec) {
  return spec == nullptr           ? std::string_view()
         : spec->type() == nullptr ? std::string_view("ClusterIP")
                                   : str(spec->type());
}
std::string_view ip_of(const core::ServiceSpec* spec) {
  if (spec == nullptr) return {};
  if (!str(spec->cluster_ip()).empty()) return str(spec->cluster_ip());
  return spec->cluster_ips() == nullptr || spec->cluster_ips()->size() == 0 ? std::string_view()
                                                                            : str(spec->cluster_ips()->Get(0));
}
bool needs_ip(std::string_view type) { return type == "ClusterIP" || type == "NodePort" || type == "LoadBalancer"; }
bool needs_ports(const core::ServiceSpec* spec) {
  const auto type = type_of(spec);
  return type == "NodePort" || (type == "LoadBalancer" && spec->allocate_load_balancer_node_ports().value_or(true));
}

// Every claim that a Service holds.
std::vector<std::string> claims_of(const Object& service) {
  std::vector<std::string> claims;
  const auto* spec = spec_of(service);
  if (const auto ip = ip_of(spec); needs_ip(type_of(spec)) && !ip.empty() && ip != "None")
    claims.push_back(ip_claim(ip));
  if (spec != nullptr && spec->ports() != nullptr) {
    for (const auto* port : *spec->ports()) {
      if (port->node_port().value_or(0) != 0) claims.push_back(port_claim(protocol_of(*port), *port->node_port()));
    }
  }
  std::sort(claims.begin(), claims.end());
  return claims;
}

// The node port that the same port of the Service had before.
int old_node_port(const core::ServiceSpec* before, const core::ServicePort& port) {
  if (before == nullptr || before->ports() == nullptr) return 0;
  for (const auto* old : *before->ports()) {
    if (old->port() == port.port() && protocol_of(*old) == protocol_of(port)) return old->node_port().value_or(0);
  }
  return 0;
}

std::string node_port_path(size_t i) { return fmt::format("spec.ports[{}].nodePort", i); }
void ip_problem(Problems& problems, std::string_view ip, std::string_view why) {
  problems.invalid_json("spec.clusterIPs", fmt::format("[]string{{\"{}\"}}", ip),
                        fmt::format("failed to allocate IP {}: {}", ip, why));
}
// By name: what a Service of the same name holds is not in the way; if it may not be made anew, the store says so.
bool other(const Object& service, const Object* by) {
  return by == nullptr || service.ns() != by->ns() || service.name() != by->name();
}
constexpr std::string_view kIpTaken = "provided IP is already allocated",
                           kPortTaken = "provided port is already allocated";

}  // namespace

Allocator::Allocator(const World& world, const ApiConfig& config) : world_(world), config_(config) {
  const size_t slash = config.service_cidr.find('/');
  int bits = 32;
  if (slash != std::string::npos) {
    std::from_chars(config.service_cidr.data() + slash + 1, config.service_cidr.data() + config.service_cidr.size(),
                    bits);
  }
  bits = std::clamp(bits, 8, 30);
  size_ = uint32_t{1} << (32 - bits);
  base_ = parse_ip(config.service_cidr.substr(0, slash)).value_or(0x0A600000) & ~(size_ - 1);
}

std::string Allocator::first_ip() const { return print_ip(base_ + 1); }

bool Allocator::in_range(std::string_view ip) const {
  const auto address = parse_ip(ip);
  return address && *address > base_ && *address < base_ + size_ - 1;
}

bool Allocator::ip_in_use(std::string_view ip, const model::Object* by) const {
  bool used = false;
  world_.find("services")->cache().for_each_by("claim", ip_claim(ip), [&](const Object& s) {
    used = used || other(s, by);
  });
  return used;
}

bool Allocator::port_in_use(std::string_view protocol, int port, const model::Object* by) const {
  bool used = false;
  world_.find("services")->cache().for_each_by("claim", port_claim(protocol, port), [&](const Object& s) {
    used = used || other(s, by);
  });
  return used;
}

std::string Allocator::random_ip() {
  // Not the network, not the first (the kubernetes Service), not the broadcast address.
  for (int i = 0; i < 64; ++i) {
    std::string ip = print_ip(base_ + 2 + static_cast<uint32_t>(random_() % (size_ - 3)));
    if (!ip_in_use(ip, nullptr)) return ip;
  }
  for (uint32_t i = 2; i < size_ - 1; ++i) {
    std::string ip = print_ip(base_ + i);
    if (!ip_in_use(ip, nullptr)) return ip;
  }
  return {};
}

uint16_t Allocator::random_port(const std::string& protocol, const std::vector<std::string>& taken) {
  const uint32_t count = config_.node_port_max - config_.node_port_min + 1;
  const auto free = [&](int port) {
    return std::find(taken.begin(), taken.end(), port_claim(protocol, port)) == taken.end() &&
           !port_in_use(protocol, port, nullptr);
  };
  const auto start = static_cast<uint32_t>(random_() % count);
  for (uint32_t i = 0; i < count; ++i) {
    const int port = config_.node_port_min + static_cast<int>((start + i) % count);
    if (free(port)) return static_cast<uint16_t>(port);
  }
  return 0;
}

void Allocator::allocate_ip(model::Draft& draft, const Object& after, const core::ServiceSpec* old,
                            Problems& problems) {
  const auto* spec = spec_of(after);
  if (!needs_ip(type_of(spec))) {
    draft.clear("spec.clusterIP");
    draft.clear("spec.clusterIPs");
    return;
  }
  std::string ip(ip_of(spec));
  const std::string had(needs_ip(type_of(old)) ? ip_of(old) : std::string_view());
  if (ip.empty()) ip = had;
  if (ip.empty()) {
    ip = random_ip();
    if (ip.empty())
      problems.invalid_json("spec.clusterIPs", "[]string(nil)", "failed to allocate a serviceIP: range is full");
  } else if (ip != "None" && ip != had) {
    if (!in_range(ip)) {
      ip_problem(problems, ip,
                 fmt::format("the provided IP ({}) is not in the valid range. The range of valid IPs is {}", ip,
                             config_.service_cidr));
    } else if (ip_in_use(ip, &after)) {
      ip_problem(problems, ip, kIpTaken);
    }
  }
  draft.set("spec.clusterIP", ip);
  draft.clear("spec.clusterIPs");
  draft.set("spec.clusterIPs[+]", ip);
}

void Allocator::allocate_ports(model::Draft& draft, const Object& after, const core::ServiceSpec* old,
                               Problems& problems) {
  const auto* spec = spec_of(after);
  if (spec == nullptr || spec->ports() == nullptr) return;
  const bool wanted = needs_ports(spec);
  std::vector<std::string> taken = claims_of(after);
  for (flatbuffers::uoffset_t i = 0; i < spec->ports()->size(); ++i) {
    const auto& port = *spec->ports()->Get(i);
    const int now = port.node_port().value_or(0), had = needs_ports(old) ? old_node_port(old, port) : 0;
    if (!wanted) {
      // A Service that turns back into ClusterIP sends its old ports along.
      if (now != 0 && now == had) draft.clear(node_port_path(i));
      continue;
    }
    if (now == 0) {
      const std::string protocol(protocol_of(port));
      const int chosen = had != 0 ? had : random_port(protocol, taken);
      if (chosen == 0) problems.invalid(node_port_path(i), 0, "failed to allocate a nodePort: range is full");
      taken.push_back(port_claim(protocol, chosen));
      draft.set(node_port_path(i), chosen);
    } else if (now != had) {
      if (now < config_.node_port_min || now > config_.node_port_max) {
        problems.invalid(node_port_path(i), now,
                         fmt::format("provided port is not in the valid range. The range of valid ports is {}-{}",
                                     config_.node_port_min, config_.node_port_max));
      } else if (port_in_use(protocol_of(port), now, &after)) {
        problems.invalid(node_port_path(i), now, kPortTaken);
      }
    }
  }
}

std::vector<Operation> Allocator::allocate(model::Draft& draft, const Object& after, const Object& before,
                                           Problems& problems) {
  const auto* old = spec_of(before);
  allocate_ip(draft, after, old, problems);
  allocate_ports(draft, after, old, problems);
  const Object made = draft.build();
  const std::vector<std::string> now = claims_of(made), had = before ? claims_of(before) : std::vector<std::string>();
  std::vector<Operation> operations;
  const std::string uid(made.uid());
  for (const auto& claim : had) {
    if (!std::binary_search(now.begin(), now.end(), claim)) {
      operations.push_back({.kind = Operation::Kind::kRelease, .uid = uid, .text = claim});
    }
  }
  for (const auto& claim : now) {
    if (!std::binary_search(had.begin(), had.end(), claim))
      operations.push_back({.kind = Operation::Kind::kClaim, .uid = uid, .text = claim});
  }
  return operations;
}

std::vector<Operation> Allocator::release(const Object& service) const {
  std::vector<Operation> operations;
  for (const auto& claim : claims_of(service)) {
    operations.push_back({.kind = Operation::Kind::kRelease, .uid = std::string(service.uid()), .text = claim});
  }
  return operations;
}

std::optional<Error> Allocator::wished(const Request& request, const Object& made, std::string_view claim) const {
  const auto given = decode_body(*request.kind, request.command, config_.max_object_bytes, nullptr);
  if (!given.ok()) return std::nullopt;
  const auto* spec = spec_of(*given);
  if (spec == nullptr) return std::nullopt;
  Problems problems;
  if (!ip_of(spec).empty() && ip_claim(ip_of(spec)) == claim) ip_problem(problems, ip_of(spec), kIpTaken);
  for (flatbuffers::uoffset_t i = 0; spec->ports() != nullptr && i < spec->ports()->size(); ++i) {
    const auto& port = *spec->ports()->Get(i);
    const int wish = port.node_port().value_or(0);
    if (wish != 0 && port_claim(protocol_of(port), wish) == claim)
      problems.invalid(node_port_path(i), wish, kPortTaken);
  }
  if (problems.empty()) return std::nullopt;
  return problems.error(*request.kind, made.name());
}

Error Allocator::exhausted(const Object& service) const {
  return Error{Code::kInternal,
               fmt::format("services \"{}\": no free cluster IP or node port was found; try again", service.name())};
}

void index_claims(const Object& service, std::vector<std::string>& values) { values = claims_of(service); }

}  // namespace gantry::apigw
