// Brings the node's kernel to what the projections say: nftables for Services and NetworkPolicies, the overlay for
// other nodes, DNS for names. Changes within one turn, or within the minimum interval, are one transaction. Loop's
// thread only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libs/base/uv_loop.h"
#include "libs/projection/cache.h"
#include "services/netproxy/dns/server.h"
#include "services/netproxy/overlay/overlay.h"
#include "services/netproxy/policy/watch.h"
#include "services/netproxy/rules/nft.h"

namespace gantry::netproxy {

struct ProxyConfig {
  std::string node;
  std::string cluster_cidr = "10.244.0.0/16";
  OverlayMode overlay = OverlayMode::kVxlan;
  std::string dns_listen;  // empty: no DNS on this node
  std::vector<std::string> dns_upstream;
  std::string cluster_domain = "cluster.local";
};

class Proxy {
 public:
  Proxy(UvLoop& loop, bus::Bus& bus, bus::Commands& commands, ProxyConfig config);

  /// Starts DNS and the feeds. Errors: no address to listen on, no rights.
  Status start();
  /// All projections are there and the kernel agrees with them; else why not.
  Status ready() const;

  struct Counters {
    uint64_t applied = 0, failed = 0;
  };
  const Counters& counters() const { return counters_; }

 private:
  void schedule();
  void sync();
  /// Starts or stops to follow pods and namespaces: only where there are policies are they worth the traffic.
  void follow_policies();
  /// This node's topology.kubernetes.io/zone, "" for none.
  std::string zone() const;
  bool synced() const;

  UvLoop& loop_;
  bus::Bus& bus_;
  bus::Commands& commands_;
  ProxyConfig config_;
  projection::Cache services_, slices_, nodes_, policies_;
  RulesetConfig ruleset_config_;
  Nft nft_;
  Overlay overlay_;
  Zone zone_;
  std::unique_ptr<DnsServer> dns_;
  std::vector<std::unique_ptr<bus::Feed>> feeds_;
  std::unique_ptr<PolicyWatch> policy_watch_;  // while there are policies
  std::vector<Frontend> installed_;
  Ruleset service_rules_;
  bool services_changed_ = true;
  std::string zone_name_;
  Timer pending_;
  bool applied_once_ = false;
  std::string problem_;
  Counters counters_;
};

}  // namespace gantry::netproxy
