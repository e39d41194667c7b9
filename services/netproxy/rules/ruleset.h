// The nftables table `ip gantry` as data, and the commands that lead from one ruleset to the next in one atomic
// transaction.
//
//   prerouting, output (nat)  ->  services: vmap @cluster_ips (ip . protocol . port) -> svc-<hash> -> dnat to one of
//   its backends
//                                           vmap @node_ports  (protocol . port)      -> npt-<hash> -> mark for
//                                           masquerade, svc-<hash>
//   forward, input, output (filter)  ->  reject what is in @no_endpoints or @no_node_endpoints
//   postrouting (nat)         ->  masquerade what is marked, hairpins (@hairpins), and pods that leave the cluster's
//   network
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "services/netproxy/rules/frontends.h"

namespace gantry::netproxy {

struct RulesetConfig {
  std::string cluster_cidr = "10.244.0.0/16";
  std::string dns_ip;  // served on this node itself: never forwarded
};

/// Immutable once built; comparing two gives the update.
struct Ruleset {
  std::map<std::string, std::vector<std::string>> chains;              // name -> rules
  std::map<std::string, std::string> dynamic_sets;                     // affinity sets: name -> definition
  std::map<std::string, std::map<std::string, std::string>> elements;  // map or set -> key -> value ("" in sets)
};

Ruleset build_ruleset(const std::vector<Frontend>& frontends, const RulesetConfig& config);

/// Commands for nft -f that create everything anew, replacing whatever table is there.
std::string full_update(const Ruleset& ruleset, const RulesetConfig& config);
/// Commands from `before` (which must be what is installed) to `after`; empty when they are equal.
std::string incremental_update(const Ruleset& before, const Ruleset& after);

}  // namespace gantry::netproxy
