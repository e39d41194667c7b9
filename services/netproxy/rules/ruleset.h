// The nftables table `ip gantry` as data, and the commands that lead from one ruleset to the next in one atomic
// transaction.
//
//   prerouting, output (nat)  ->  services: vmap @cluster_ips (ip . protocol . port) -> svc-<hash> -> dnat to one of
//   its backends
//                                           vmap @node_ports  (protocol . port)      -> npt-<hash> -> mark for
//                                           masquerade, svc-<hash>
//   forward, input, output (filter)  ->  reject what is in @no_endpoints or @no_node_endpoints
//   forward (filter, before that)    ->  what a NetworkPolicy isolates: vmap @policy_egress (source), then
//   @policy_ingress (destination, after Services) -> pod-<hash> -> the chains of its policies, which accept; drop
//   postrouting (nat)         ->  masquerade what is marked, hairpins (@hairpins), and pods that leave the cluster's
//   network
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "services/netproxy/rules/frontends.h"

namespace gantry::netproxy {

struct RulesetConfig {
  std::string cluster_cidr = "10.244.0.0/16";
  std::string dns_ip;  // served on this node itself: never forwarded
};

/// A set of its own, shared between rulesets while it does not change.
struct NamedSet {
  std::string type;
  std::shared_ptr<const std::map<std::string, std::string>> elements;  // as in Ruleset::elements
};

/// Immutable once built; comparing two gives the update.
struct Ruleset {
  std::map<std::string, std::vector<std::string>> chains;              // name -> rules
  std::map<std::string, std::string> dynamic_sets;                     // affinity sets: name -> definition
  std::map<std::string, std::map<std::string, std::string>> elements;  // map or set -> key -> value ("" in sets)
  std::map<std::string, NamedSet> sets;
};

/// For names of chains and sets, which must be short and the same on every run.
std::string hash(std::string_view text);

Ruleset build_ruleset(const std::vector<Frontend>& frontends, const RulesetConfig& config);

/// Commands for nft -f that create everything anew, replacing whatever table is there.
std::string full_update(const Ruleset& ruleset, const RulesetConfig& config);
/// Commands from `before` (which must be what is installed) to `after`; empty when they are equal.
std::string incremental_update(const Ruleset& before, const Ruleset& after);

}  // namespace gantry::netproxy
