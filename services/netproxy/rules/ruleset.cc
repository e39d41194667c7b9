#include "services/netproxy/rules/ruleset.h"

#include <fmt/format.h>

#include <functional>

namespace gantry::netproxy {
namespace {

constexpr std::string_view kMark = "meta mark set meta mark | 0x4000";

class Builder {
 public:
  explicit Builder(const RulesetConfig& config) : config_(config) {
    for (const char* name : {"cluster_ips", "node_ports", "no_endpoints", "no_node_endpoints", "hairpins",
                             "policy_ingress", "policy_egress", "policy_self"})
      out_.elements[name];
  }

  void add(const Frontend& f) {
    std::string id = hash(f.name + "/" + f.protocol);
    add_cluster(f, id, f.internal_local ? f.local_backends : f.backends);
    if (f.node_port != 0 || !f.external_ips.empty() || !f.balancer_ips.empty()) add_external(f, id);
    for (const auto* list : {&f.backends, &f.local_backends}) {
      for (const auto& b : *list) {
        if (b.local) out_.elements["hairpins"][b.ip + " . " + b.ip];
      }
    }
  }

  Ruleset take() { return std::move(out_); }

 private:
  /// Leads packets for `ip` to `chain`, or, when it is empty, refuses them.
  void lead(const Frontend& f, const std::string& ip, const std::string& chain) {
    std::string key = fmt::format("{} . {} . {}", ip, f.protocol, f.port);
    if (chain.empty()) {
      out_.elements["no_endpoints"][key];
    } else {
      out_.elements["cluster_ips"][key] = "goto " + chain;
    }
  }

  void add_cluster(const Frontend& f, const std::string& id, const std::vector<Backend>& backends) {
    std::string chain = backends.empty() ? "" : "svc-" + id;
    for (const auto& ip : f.ips) lead(f, ip, chain);
    if (backends.empty()) return;
    // A client outside the pod network would be answered directly by the pod, past this node's translation.
    auto& rules = out_.chains[chain];
    rules.push_back(fmt::format("ip saddr != {} {}", config_.cluster_cidr, kMark));
    balance(chain, id, f, backends);
  }

  /// Node ports, externalIPs and load balancers.
  void add_external(const Frontend& f, const std::string& id) {
    const auto& backends = f.external_local ? f.local_backends : f.backends;
    bool inside = f.external_local && !f.internal_local && !f.backends.empty();
    std::string chain = backends.empty() && !inside ? "" : "npt-" + id;
    if (!chain.empty()) {
      auto& rules = out_.chains[chain];
      if (inside) {
        // Pods and the node itself are inside wherever they are: for them the policy does not count.
        rules.push_back(fmt::format("ip saddr {} goto svc-{}", config_.cluster_cidr, id));
        rules.push_back(fmt::format("fib saddr type local goto svc-{}", id));
      }
      if (!f.external_local) rules.emplace_back(kMark);
      if (!backends.empty()) balance(chain, id, f, backends);
    }
    if (f.node_port != 0) {
      std::string key = fmt::format("{} . {}", f.protocol, f.node_port);
      if (!chain.empty()) out_.elements["node_ports"][key] = "goto " + chain;
      if (backends.empty()) out_.elements["no_node_endpoints"][key];
    }
    for (const auto& ip : f.external_ips) lead(f, ip, chain);
    std::string balanced = chain;
    if (!chain.empty() && !f.source_ranges.empty()) {
      balanced = "lbs-" + id;
      auto& rules = out_.chains[balanced];
      for (const auto& range : f.source_ranges) rules.push_back(fmt::format("ip saddr {} goto {}", range, chain));
      rules.emplace_back("drop");
    }
    for (const auto& ip : f.balancer_ips) lead(f, ip, balanced);
    if (backends.empty() && !chain.empty()) {
      for (const auto* list : {&f.external_ips, &f.balancer_ips}) {
        for (const auto& ip : *list) lead(f, ip, "");
      }
    }
  }

  void balance(const std::string& chain, const std::string& id, const Frontend& f,
               const std::vector<Backend>& backends) {
    auto& rules = out_.chains[chain];
    if (f.affinity_seconds == 0) {
      std::string targets;
      for (size_t i = 0; i < backends.size(); ++i) {
        targets += fmt::format("{}{} : {} . {}", i == 0 ? "" : ", ", i, backends[i].ip, backends[i].port);
      }
      rules.push_back(fmt::format("meta l4proto {} dnat ip addr . port to numgen random mod {} map {{ {} }}",
                                  f.protocol, backends.size(), targets));
      return;
    }
    std::string targets;
    for (size_t i = 0; i < backends.size(); ++i) {
      const auto& b = backends[i];
      std::string endpoint = hash(fmt::format("{}/{}/{}:{}", f.name, f.protocol, b.ip, b.port));
      std::string set = "aff-" + endpoint;
      out_.dynamic_sets[set] =
          fmt::format("{{ type ipv4_addr; flags dynamic,timeout; timeout {}s; size 65535; }}", f.affinity_seconds);
      out_.chains["sep-" + endpoint] = {fmt::format("update @{} {{ ip saddr }}", set),
                                        fmt::format("meta l4proto {} dnat to {}:{}", f.protocol, b.ip, b.port)};
      rules.push_back(fmt::format("ip saddr @{} goto sep-{}", set, endpoint));
      targets += fmt::format("{}{} : goto sep-{}", i == 0 ? "" : ", ", i, endpoint);
    }
    rules.push_back(fmt::format("numgen random mod {} vmap {{ {} }}", backends.size(), targets));
  }

  const RulesetConfig& config_;
  Ruleset out_;
};

void add_rules(std::string& out, const std::string& chain, const std::vector<std::string>& rules) {
  for (const auto& rule : rules) out += fmt::format("add rule ip gantry {} {}\n", chain, rule);
}

void change_elements(std::string& out, std::string_view verb, const std::string& set,
                     const std::map<std::string, std::string>& elements) {
  if (elements.empty()) return;
  out += fmt::format("{} element ip gantry {} {{ ", verb, set);
  bool first = true;
  for (const auto& [key, value] : elements) {
    out += fmt::format("{}{}{}{}", first ? "" : ", ", key, value.empty() ? "" : " : ", value);
    first = false;
  }
  out += " }\n";
}

/// What leads from `before` to `after`: deletions to `removals`, the rest to `adds`.
void compare_elements(const std::string& set, const std::map<std::string, std::string>& before,
                      const std::map<std::string, std::string>& after, std::string& removals, std::string& adds) {
  std::map<std::string, std::string> removed, added;
  for (const auto& [key, value] : before) {
    auto now = after.find(key);
    if (now == after.end() || now->second != value) removed.emplace_hint(removed.end(), key, value);
  }
  for (const auto& [key, value] : after) {
    auto then = before.find(key);
    if (then == before.end() || then->second != value) added.emplace_hint(added.end(), key, value);
  }
  change_elements(removals, "delete", set, removed);
  change_elements(adds, "add", set, added);
}

}  // namespace

/// FNV-1a.
std::string hash(std::string_view text) {
  uint64_t h = 14695981039346656037ULL;
  for (char c : text) h = (h ^ static_cast<uint8_t>(c)) * 1099511628211ULL;
  return fmt::format("{:016x}", h);
}

Ruleset build_ruleset(const std::vector<Frontend>& frontends, const RulesetConfig& config) {
  Builder builder(config);
  for (const auto& frontend : frontends) builder.add(frontend);
  return builder.take();
}

std::string full_update(const Ruleset& ruleset, const RulesetConfig& config) {
  std::string out =
      "add table ip gantry\n"
      "delete table ip gantry\n"
      "add table ip gantry\n"
      "add map ip gantry cluster_ips { type ipv4_addr . inet_proto . inet_service : verdict; }\n"
      "add map ip gantry node_ports { type inet_proto . inet_service : verdict; }\n"
      "add set ip gantry no_endpoints { type ipv4_addr . inet_proto . inet_service; }\n"
      "add set ip gantry no_node_endpoints { type inet_proto . inet_service; }\n"
      "add set ip gantry hairpins { type ipv4_addr . ipv4_addr; }\n"
      "add map ip gantry policy_ingress { type ipv4_addr : verdict; }\n"
      "add map ip gantry policy_egress { type ipv4_addr : verdict; }\n"
      "add set ip gantry policy_self { type ipv4_addr . ipv4_addr; }\n"
      "add chain ip gantry services\n"
      "add chain ip gantry refuse\n"
      "add chain ip gantry prerouting { type nat hook prerouting priority -100; policy accept; }\n"
      "add chain ip gantry output { type nat hook output priority -100; policy accept; }\n"
      "add chain ip gantry postrouting { type nat hook postrouting priority 100; policy accept; }\n"
      "add chain ip gantry from_pods { type filter hook forward priority -2; policy accept; }\n"
      "add chain ip gantry to_pods { type filter hook forward priority -1; policy accept; }\n"
      "add chain ip gantry filter_input { type filter hook input priority 0; policy accept; }\n"
      "add chain ip gantry filter_forward { type filter hook forward priority 0; policy accept; }\n"
      "add chain ip gantry filter_output { type filter hook output priority 0; policy accept; }\n"
      "add rule ip gantry services ip daddr . meta l4proto . th dport vmap @cluster_ips\n"
      "add rule ip gantry services fib daddr type local ip daddr != 127.0.0.0/8 meta l4proto . th dport vmap "
      "@node_ports\n"
      "add rule ip gantry refuse meta l4proto tcp ip daddr . meta l4proto . th dport @no_endpoints reject with tcp "
      "reset\n"
      "add rule ip gantry refuse ip daddr . meta l4proto . th dport @no_endpoints reject\n"
      "add rule ip gantry refuse fib daddr type local meta l4proto . th dport @no_node_endpoints reject\n"
      "add rule ip gantry prerouting jump services\n"
      "add rule ip gantry output jump services\n"
      // To accept in one hook leads to the next one: what may leave its pod must still be let in by the other.
      "add rule ip gantry from_pods ct state established,related accept\n"
      "add rule ip gantry from_pods ip saddr . ip daddr @policy_self accept\n"
      "add rule ip gantry from_pods ip saddr vmap @policy_egress\n"
      "add rule ip gantry to_pods ct state established,related accept\n"
      "add rule ip gantry to_pods ip saddr . ip daddr @policy_self accept\n"
      "add rule ip gantry to_pods ip daddr vmap @policy_ingress\n"
      "add rule ip gantry filter_input ct state new jump refuse\n"
      "add rule ip gantry filter_forward ct state new jump refuse\n"
      "add rule ip gantry filter_output ct state new jump refuse\n"
      "add rule ip gantry postrouting meta mark & 0x4000 == 0x4000 masquerade\n"
      "add rule ip gantry postrouting ip saddr . ip daddr @hairpins masquerade\n";
  out += fmt::format("add rule ip gantry postrouting ip saddr {0} ip daddr != {0} masquerade\n", config.cluster_cidr);
  Ruleset empty;
  for (const auto& [name, elements] : ruleset.elements) empty.elements[name];
  out += incremental_update(empty, ruleset);
  return out;
}

std::string incremental_update(const Ruleset& before, const Ruleset& after) {
  std::string out, adds;
  static const std::map<std::string, std::string> kNone;
  // Remove what leads to chains before the chains, and create chains before what leads to them.
  for (const auto& [set, elements] : after.elements) {
    auto it = before.elements.find(set);
    compare_elements(set, it == before.elements.end() ? kNone : it->second, elements, out, adds);
  }
  for (const auto& [name, definition] : after.dynamic_sets) {
    auto it = before.dynamic_sets.find(name);
    if (it == before.dynamic_sets.end()) out += fmt::format("add set ip gantry {} {}\n", name, definition);
  }
  for (const auto& [name, set] : after.sets) {
    auto it = before.sets.find(name);
    if (it == before.sets.end()) {
      out += fmt::format("add set ip gantry {} {{ type {}; }}\n", name, set.type);
      compare_elements(name, kNone, *set.elements, out, adds);
    } else if (it->second.elements != set.elements) {
      compare_elements(name, *it->second.elements, *set.elements, out, adds);
    }
  }
  for (const auto& [name, rules] : after.chains) {
    if (!before.chains.contains(name)) out += fmt::format("add chain ip gantry {}\n", name);
  }
  for (const auto& [name, rules] : after.chains) {
    auto it = before.chains.find(name);
    if (it != before.chains.end() && it->second == rules) continue;
    if (it != before.chains.end()) out += fmt::format("flush chain ip gantry {}\n", name);
    add_rules(out, name, rules);
  }
  // A chain that goes may lead to another that goes: empty them all first.
  std::string deletes;
  for (const auto& [name, rules] : before.chains) {
    if (after.chains.contains(name)) continue;
    out += fmt::format("flush chain ip gantry {}\n", name);
    deletes += fmt::format("delete chain ip gantry {}\n", name);
  }
  out += deletes;
  for (const auto& [name, definition] : before.dynamic_sets) {
    if (!after.dynamic_sets.contains(name)) out += fmt::format("delete set ip gantry {}\n", name);
  }
  for (const auto& [name, set] : before.sets) {
    if (!after.sets.contains(name)) out += fmt::format("delete set ip gantry {}\n", name);
  }
  return out + adds;
}

}  // namespace gantry::netproxy
