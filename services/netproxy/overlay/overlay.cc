#include "services/netproxy/overlay/overlay.h"

#include <fmt/format.h>
#include <glog/logging.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <netlink/route/link/vxlan.h>
#include <netlink/route/neighbour.h>
#include <netlink/route/nexthop.h>
#include <netlink/route/route.h>

namespace gantry::netproxy {
namespace {

constexpr const char* kDevice = "gantry.vx";
constexpr const char* kDnsDevice = "gantry-dns";

template <typename T, void (*Free)(T*)>
struct Deleter {
  void operator()(T* p) const { Free(p); }
};
template <typename T, void (*Free)(T*)>
using Owned = std::unique_ptr<T, Deleter<T, Free>>;
using Addr = Owned<nl_addr, nl_addr_put>;
using Link = Owned<rtnl_link, rtnl_link_put>;
using Route = Owned<rtnl_route, rtnl_route_put>;
using Neigh = Owned<rtnl_neigh, rtnl_neigh_put>;
using IfAddr = Owned<rtnl_addr, rtnl_addr_put>;

Status check(int rc, const std::string& what) {
  if (rc >= 0) return Done{};
  return Error{Code::kInternal, fmt::format("{}: {}", what, nl_geterror(rc))};
}

Addr parse(const std::string& text, int family = AF_INET) {
  nl_addr* out = nullptr;
  return Addr(nl_addr_parse(text.c_str(), family, &out) == 0 ? out : nullptr);
}

}  // namespace

struct Overlay::Netlink {
  nl_sock* socket = nl_socket_alloc();
  Netlink() { CHECK_EQ(nl_connect(socket, NETLINK_ROUTE), 0) << "no netlink"; }
  ~Netlink() { nl_socket_free(socket); }

  Link find(const char* name) {
    rtnl_link* out = nullptr;
    return Link(rtnl_link_get_kernel(socket, 0, name, &out) == 0 ? out : nullptr);
  }
  Status set_up(rtnl_link* link) {
    Link change(rtnl_link_alloc());
    rtnl_link_set_flags(change.get(), IFF_UP);
    return check(rtnl_link_change(socket, link, change.get(), 0), "link up");
  }
  /// True if the link has an IPv4 address other than `ip`.
  bool has_other_address(int index, const std::string& ip) {
    nl_cache* cache = nullptr;
    if (rtnl_addr_alloc_cache(socket, &cache) != 0) return false;
    bool found = false;
    for (auto* object = nl_cache_get_first(cache); object != nullptr; object = nl_cache_get_next(object)) {
      auto* address = reinterpret_cast<rtnl_addr*>(object);
      auto* local = rtnl_addr_get_local(address);
      if (rtnl_addr_get_ifindex(address) != index || local == nullptr || nl_addr_get_family(local) != AF_INET) continue;
      char text[64] = "";
      nl_addr2str(local, text, sizeof text);
      found |= network_address(text) != ip;
    }
    nl_cache_free(cache);
    return found;
  }
  Status add_address(int index, const std::string& ip) {
    IfAddr address(rtnl_addr_alloc());
    auto local = parse(ip + "/32");
    if (!local) return Error{Code::kInvalid, "not an address: " + ip};
    rtnl_addr_set_ifindex(address.get(), index);
    rtnl_addr_set_local(address.get(), local.get());
    int rc = rtnl_addr_add(socket, address.get(), 0);
    return rc == -NLE_EXIST ? Status(Done{}) : check(rc, "address " + ip);
  }
};

Overlay::Overlay(OverlayMode mode, uint32_t vni, uint16_t port)
    : mode_(mode), vni_(vni), port_(port), netlink_(std::make_unique<Netlink>()) {}
Overlay::~Overlay() = default;

Status Overlay::ensure_vxlan(const Peer& self) {
  auto existing = netlink_->find(kDevice);
  if (existing) {
    char mac[32] = "";
    if (auto* addr = rtnl_link_get_addr(existing.get())) nl_addr2str(addr, mac, sizeof mac);
    device_ = rtnl_link_get_ifindex(existing.get());
    // Made for another address of this node, or another pod network (which may be a peer's by now).
    if (mac != vxlan_mac(self.node_ip) || netlink_->has_other_address(device_, network_address(self.pod_cidr))) {
      rtnl_link_delete(netlink_->socket, existing.get());
      existing.reset();
    }
  }
  if (!existing) {
    Link link(rtnl_link_vxlan_alloc());
    auto mac = parse(vxlan_mac(self.node_ip), AF_LLC);
    auto local = parse(self.node_ip);
    if (!mac || !local) return Error{Code::kInvalid, "not an IPv4 address: " + self.node_ip};
    rtnl_link_set_name(link.get(), kDevice);
    rtnl_link_set_addr(link.get(), mac.get());
    rtnl_link_set_mtu(link.get(), 1450);
    rtnl_link_vxlan_set_id(link.get(), vni_);
    rtnl_link_vxlan_set_port(link.get(), port_);
    rtnl_link_vxlan_set_local(link.get(), local.get());
    rtnl_link_vxlan_disable_learning(link.get());
    auto status = check(rtnl_link_add(netlink_->socket, link.get(), NLM_F_CREATE | NLM_F_EXCL), "vxlan device");
    if (!status.ok()) return status;
    existing = netlink_->find(kDevice);
    if (!existing) return Error{Code::kInternal, "the vxlan device is not there after it was made"};
    device_ = rtnl_link_get_ifindex(existing.get());
  }
  auto status = netlink_->add_address(device_, network_address(self.pod_cidr));
  if (!status.ok()) return status;
  return netlink_->set_up(existing.get());
}

Status Overlay::add_peer(const Peer& peer) {
  auto node = parse(peer.node_ip);
  auto cidr = parse(peer.pod_cidr);
  auto gateway = parse(network_address(peer.pod_cidr));
  if (!node || !cidr || !gateway) return Error{Code::kInvalid, fmt::format("peer {} {}", peer.node_ip, peer.pod_cidr)};

  Route route(rtnl_route_alloc());
  rtnl_route_set_family(route.get(), AF_INET);
  rtnl_route_set_dst(route.get(), cidr.get());
  auto* hop = rtnl_route_nh_alloc();  // owned by the route
  if (mode_ == OverlayMode::kVxlan) {
    auto mac = parse(vxlan_mac(peer.node_ip), AF_LLC);
    Neigh neighbour(rtnl_neigh_alloc());
    rtnl_neigh_set_family(neighbour.get(), AF_INET);
    rtnl_neigh_set_ifindex(neighbour.get(), device_);
    rtnl_neigh_set_dst(neighbour.get(), gateway.get());
    rtnl_neigh_set_lladdr(neighbour.get(), mac.get());
    rtnl_neigh_set_state(neighbour.get(), NUD_PERMANENT);
    auto status = check(rtnl_neigh_add(netlink_->socket, neighbour.get(), NLM_F_CREATE | NLM_F_REPLACE), "neighbour");
    if (!status.ok()) return status;
    Neigh forward(rtnl_neigh_alloc());
    rtnl_neigh_set_dst(forward.get(), node.get());  // before the family: libnl wants both to agree
    rtnl_neigh_set_family(forward.get(), AF_BRIDGE);
    rtnl_neigh_set_ifindex(forward.get(), device_);
    rtnl_neigh_set_lladdr(forward.get(), mac.get());
    rtnl_neigh_set_flags(forward.get(), NTF_SELF);
    rtnl_neigh_set_state(forward.get(), NUD_PERMANENT | NUD_NOARP);
    status = check(rtnl_neigh_add(netlink_->socket, forward.get(), NLM_F_CREATE | NLM_F_REPLACE), "forwarding entry");
    if (!status.ok()) return status;
    rtnl_route_nh_set_ifindex(hop, device_);
    rtnl_route_nh_set_gateway(hop, gateway.get());
    rtnl_route_nh_set_flags(hop, RTNH_F_ONLINK);
  } else {
    rtnl_route_nh_set_gateway(hop, node.get());
  }
  rtnl_route_add_nexthop(route.get(), hop);
  return check(rtnl_route_add(netlink_->socket, route.get(), NLM_F_CREATE | NLM_F_REPLACE), "route " + peer.pod_cidr);
}

void Overlay::remove_peer(const Peer& peer) {
  auto cidr = parse(peer.pod_cidr);
  if (!cidr) return;
  Route route(rtnl_route_alloc());
  rtnl_route_set_family(route.get(), AF_INET);
  rtnl_route_set_scope(route.get(), RT_SCOPE_NOWHERE);
  rtnl_route_set_dst(route.get(), cidr.get());
  rtnl_route_delete(netlink_->socket, route.get(), 0);
  if (mode_ != OverlayMode::kVxlan || device_ == 0) return;
  auto gateway = parse(network_address(peer.pod_cidr));
  auto mac = parse(vxlan_mac(peer.node_ip), AF_LLC);
  Neigh neighbour(rtnl_neigh_alloc());
  rtnl_neigh_set_family(neighbour.get(), AF_INET);
  rtnl_neigh_set_ifindex(neighbour.get(), device_);
  rtnl_neigh_set_dst(neighbour.get(), gateway.get());
  rtnl_neigh_delete(netlink_->socket, neighbour.get(), 0);
  Neigh forward(rtnl_neigh_alloc());
  if (auto node = parse(peer.node_ip)) rtnl_neigh_set_dst(forward.get(), node.get());
  rtnl_neigh_set_family(forward.get(), AF_BRIDGE);
  rtnl_neigh_set_ifindex(forward.get(), device_);
  rtnl_neigh_set_lladdr(forward.get(), mac.get());
  rtnl_neigh_set_flags(forward.get(), NTF_SELF);
  rtnl_neigh_delete(netlink_->socket, forward.get(), 0);
}

Status Overlay::sync(const OverlayState& state) {
  if (state == applied_) return Done{};
  if (!state.self) return Done{};  // nothing to connect yet
  if (applied_.self != state.self) {
    if (mode_ == OverlayMode::kVxlan) {
      // What an earlier run left is unknown: a device without peers has no stale ones.
      if (!applied_.self) {
        if (auto old = netlink_->find(kDevice)) {
          // Keep the device (traffic flows); entries are replaced below, and routes to nodes that are gone lead nowhere
          // until then.
          device_ = rtnl_link_get_ifindex(old.get());
        }
      }
      auto status = ensure_vxlan(*state.self);
      if (!status.ok()) return status;
    }
    applied_.peers.clear();
    applied_.self = state.self;
  }
  for (auto it = applied_.peers.begin(); it != applied_.peers.end();) {
    auto now = state.peers.find(it->first);
    if (now == state.peers.end() || now->second != it->second) {
      remove_peer(it->second);
      it = applied_.peers.erase(it);
    } else {
      ++it;
    }
  }
  for (const auto& [name, peer] : state.peers) {
    if (applied_.peers.contains(name)) continue;
    auto status = add_peer(peer);
    if (!status.ok()) {
      status.error().message = fmt::format("node={} {}", name, status.error().message);
      return status;
    }
    applied_.peers[name] = peer;
  }
  return Done{};
}

Status Overlay::add_local_address(const std::string& ip) {
  auto link = netlink_->find(kDnsDevice);
  if (!link) {
    Link dummy(rtnl_link_alloc());
    rtnl_link_set_name(dummy.get(), kDnsDevice);
    rtnl_link_set_type(dummy.get(), "dummy");
    int rc = rtnl_link_add(netlink_->socket, dummy.get(), NLM_F_CREATE | NLM_F_EXCL);
    if (rc < 0) {
      // Without the dummy driver the loopback device serves as well.
      link = netlink_->find("lo");
    } else {
      link = netlink_->find(kDnsDevice);
    }
    if (!link) return check(rc, "dummy device");
  }
  auto status = netlink_->add_address(rtnl_link_get_ifindex(link.get()), ip);
  if (!status.ok()) return status;
  return netlink_->set_up(link.get());
}

}  // namespace gantry::netproxy
