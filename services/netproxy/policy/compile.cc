#include "services/netproxy/policy/compile.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include "schemas/api/networking_v1_generated.h"
#include "services/netproxy/rules/ruleset.h"

namespace gantry::netproxy {
namespace {

using api::meta_v1::IntOrString;
using api::networking_v1::IPBlock;
using api::networking_v1::NetworkPolicyPeer;
using api::networking_v1::NetworkPolicyPort;
using model::str;

struct Network {
  uint32_t address = 0;  // host order
  int bits = 0;
  std::string text() const {
    in_addr raw{htonl(address)};
    char buffer[INET_ADDRSTRLEN] = {};
    inet_ntop(AF_INET, &raw, buffer, sizeof buffer);
    return fmt::format("{}/{}", buffer, bits);
  }
};

/// Absent for IPv6. Bits beyond the prefix do not count.
std::optional<Network> network(std::string_view cidr) {
  size_t slash = cidr.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  in_addr raw{};
  if (inet_pton(AF_INET, std::string(cidr.substr(0, slash)).c_str(), &raw) != 1) return std::nullopt;
  Network out;
  out.bits = std::atoi(std::string(cidr.substr(slash + 1)).c_str());
  if (out.bits < 0 || out.bits > 32) return std::nullopt;
  out.address = ntohl(raw.s_addr) & (out.bits == 0 ? 0 : ~uint32_t{0} << (32 - out.bits));
  return out;
}

/// Absent: no IPv4 address is meant.
std::optional<std::string> block_match(const IPBlock& block, std::string_view address) {
  auto cidr = network(str(block.cidr()));
  if (!cidr) return std::nullopt;
  std::string out;
  if (cidr->bits > 0) out = fmt::format("{} {} ", address, cidr->text());
  if (block.except() == nullptr) return out;
  for (const auto* text : *block.except()) {
    auto except = network(str(text));
    if (!except) continue;
    if (except->bits == 0) return std::nullopt;
    out += fmt::format("{} != {} ", address, except->text());
  }
  return out;
}

model::LabelSelector selector(const api::meta_v1::LabelSelector* given) {
  auto parsed = model::LabelSelector::from(given);
  if (parsed.ok()) return *parsed;
  return *model::LabelSelector::from(nullptr);  // nothing
}

class Compiler {
 public:
  explicit Compiler(const model::Object& policy) : key_(fmt::format("{}/{}", policy.ns(), policy.name())) {
    out_.ns = policy.ns();
    const auto* spec = policy.as<api::networking_v1::NetworkPolicy>()->spec();
    if (spec == nullptr) {
      out_.subject = selector(nullptr);
      return;
    }
    if (spec->pod_selector() != nullptr) out_.subject = selector(spec->pod_selector());  // without one: every pod
    bool egress = spec->egress() != nullptr && spec->egress()->size() > 0, ingress = true;
    if (spec->policy_types() != nullptr && spec->policy_types()->size() > 0) {
      ingress = egress = false;
      for (const auto* type : *spec->policy_types()) (str(type) == "Egress" ? egress : ingress) = true;
    }
    if (ingress) {
      auto& rules = begin(out_.ingress, "pli-");
      if (spec->ingress() != nullptr) {
        for (const auto* rule : *spec->ingress()) add(rules, Direction::kIngress, rule->from(), rule->ports());
      }
    }
    if (egress) {
      auto& rules = begin(out_.egress, "ple-");
      if (spec->egress() != nullptr) {
        for (const auto* rule : *spec->egress()) add(rules, Direction::kEgress, rule->to(), rule->ports());
      }
    }
  }

  CompiledPolicy take() { return std::move(out_); }

 private:
  using Matches = std::vector<std::string>;  // each ends with a space, or is empty: everything

  std::vector<std::string>& begin(std::string& chain, std::string_view prefix) {
    chain = fmt::format("{}{}", prefix, hash(key_));
    return out_.chains[chain];
  }

  template <typename Peers, typename Ports>
  void add(std::vector<std::string>& rules, Direction direction, const Peers* peers, const Ports* ports) {
    Matches who = peers_of(peers, direction == Direction::kIngress ? "ip saddr" : "ip daddr"), what = ports_of(ports);
    std::string to = "accept";
    if (who.size() > 1 && what.size() > 1) {
      std::string chain =
          fmt::format("plr-{}", hash(fmt::format("{} {} {}", key_, direction == Direction::kIngress, rules.size())));
      for (const auto& match : what) out_.chains[chain].push_back(match + "accept");
      to = "jump " + chain;
      what = {""};
    }
    for (const auto& peer : who) {
      for (const auto& port : what) rules.push_back(peer + port + to);
    }
  }

  template <typename Peers>
  Matches peers_of(const Peers* peers, std::string_view address) {
    if (peers == nullptr || peers->size() == 0) return {""};
    Matches out;
    for (const NetworkPolicyPeer* peer : *peers) {
      if (peer->ip_block() != nullptr) {
        if (auto match = block_match(*peer->ip_block(), address)) out.push_back(*match);
        continue;
      }
      PodSelection selection;
      if (peer->pod_selector() != nullptr) selection.pods = selector(peer->pod_selector());
      if (peer->namespace_selector() != nullptr) {
        selection.namespaces = selector(peer->namespace_selector());
      } else {
        selection.ns = out_.ns;
      }
      std::string set = "pods-" + hash(fmt::format("{}|{}|{}", selection.ns, text(peer->namespace_selector()),
                                                   text(peer->pod_selector())));
      out.push_back(fmt::format("{} @{} ", address, set));
      out_.selections.emplace(std::move(set), std::move(selection));
    }
    return out;
  }

  template <typename Ports>
  Matches ports_of(const Ports* ports) {
    if (ports == nullptr || ports->size() == 0) return {""};
    Matches out;
    for (const NetworkPolicyPort* port : *ports) {
      std::string protocol(str(port->protocol()));
      if (protocol.empty()) protocol = "TCP";
      for (char& c : protocol) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      const IntOrString* number = port->port();
      if (number == nullptr) {
        out.push_back(fmt::format("meta l4proto {} ", protocol));
      } else if (!str(number->str_value()).empty()) {
        NamedPort named{protocol, std::string(str(number->str_value()))};
        std::string set = "ports-" + hash(named.protocol + "/" + named.name);
        out.push_back(fmt::format("meta l4proto {} ip daddr . th dport @{} ", protocol, set));
        out_.ports.emplace(std::move(set), std::move(named));
      } else {
        int first = number->int_value().value_or(0), last = port->end_port().value_or(first);
        out.push_back(last > first ? fmt::format("{} dport {}-{} ", protocol, first, last)
                                   : fmt::format("{} dport {} ", protocol, first));
      }
    }
    return out;
  }

  /// The same for the same selector, so that policies share sets.
  static std::string text(const api::meta_v1::LabelSelector* given) {
    if (given == nullptr) return "-";
    auto parsed = model::LabelSelector::from(given);
    return parsed.ok() ? "{" + parsed->to_string() + "}" : "!";
  }

  std::string key_;
  CompiledPolicy out_;
};

}  // namespace

CompiledPolicy compile(const model::Object& policy) { return Compiler(policy).take(); }

}  // namespace gantry::netproxy
