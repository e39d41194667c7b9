// Pod traffic between nodes: a VXLAN device with one route, neighbour and forwarding entry for each other node, or
// plain routes where all nodes share a link. Desired state is a pure function of the Nodes; the kernel is brought to it
// by netlink.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "libs/base/result.h"
#include "libs/projection/cache.h"

namespace gantry::netproxy {

enum class OverlayMode : uint8_t { kVxlan, kRoutes };

struct Peer {
  std::string node_ip;
  std::string pod_cidr;  // 10.244.1.0/24
  auto operator<=>(const Peer&) const = default;
};

struct OverlayState {
  std::optional<Peer> self;           // absent until this node has an address and a pod CIDR
  std::map<std::string, Peer> peers;  // other nodes by name
  bool operator==(const OverlayState&) const = default;
};

/// From the projection of Nodes: InternalIP and spec.podCIDR (IPv4).
OverlayState overlay_state(const projection::Cache& nodes, std::string_view node);

/// The hardware address of a node's VXLAN device, derived from its IP so that peers need not be told: 02:67:<ip>.
std::string vxlan_mac(const std::string& node_ip);
/// The first address of a CIDR: the VXLAN device's own.
std::string network_address(const std::string& cidr);

/// Blocking netlink calls (well below a millisecond each); one thread at a time.
class Overlay {
 public:
  explicit Overlay(OverlayMode mode, uint32_t vni = 7207, uint16_t port = 4789);
  ~Overlay();
  /// Brings devices, routes and neighbours to `state`, touching only what differs from the last sync; the first one
  /// also removes what an earlier run left.
  Status sync(const OverlayState& state);
  /// Adds `ip`/32 to the dummy device gantry-dns (made if absent), so that this node itself answers on it.
  Status add_local_address(const std::string& ip);

 private:
  struct Netlink;
  Status add_peer(const Peer& peer);
  void remove_peer(const Peer& peer);
  Status ensure_vxlan(const Peer& self);
  OverlayMode mode_;
  uint32_t vni_;
  uint16_t port_;
  std::unique_ptr<Netlink> netlink_;
  OverlayState applied_;
  int device_ = 0;
};

}  // namespace gantry::netproxy
