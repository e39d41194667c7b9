#include <fmt/format.h>

#include <array>
#include <cstdio>

#include "schemas/all.h"
#include "services/netproxy/overlay/overlay.h"

namespace gantry::netproxy {

using model::str;

OverlayState overlay_state(const projection::Cache& nodes, std::string_view node) {
  OverlayState state;
  nodes.for_each([&](const model::Object& object) {
    const auto* n = object.as<api::core_v1::Node>();
    Peer peer;
    if (n->spec()) peer.pod_cidr = str(n->spec()->pod_cidr());
    if (n->status() && n->status()->addresses()) {
      for (const auto* address : *n->status()->addresses()) {
        bool v4 = str(address->address()).find(':') == std::string_view::npos;
        if (v4 && str(address->type()) == "InternalIP") peer.node_ip = str(address->address());
      }
    }
    if (peer.node_ip.empty() || peer.pod_cidr.empty()) return;
    if (object.name() == node) {
      state.self = peer;
    } else {
      state.peers[std::string(object.name())] = peer;
    }
  });
  return state;
}

std::string vxlan_mac(const std::string& node_ip) {
  std::array<unsigned, 4> b{};
  if (std::sscanf(node_ip.c_str(), "%u.%u.%u.%u", &b[0], &b[1], &b[2], &b[3]) != 4) return "";  // NOLINT(cert-err34-c)
  return fmt::format("02:67:{:02x}:{:02x}:{:02x}:{:02x}", b[0] & 255, b[1] & 255, b[2] & 255, b[3] & 255);
}

std::string network_address(const std::string& cidr) { return cidr.substr(0, cidr.find('/')); }

}  // namespace gantry::netproxy
