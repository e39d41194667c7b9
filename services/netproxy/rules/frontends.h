// What the node must forward: one Frontend for each port of each Service, with the backends that it goes to. A pure
// function of the projections.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <vector>

#include "libs/projection/cache.h"

namespace gantry::netproxy {

struct Backend {
  std::string ip;
  uint16_t port = 0;
  bool local = false;  // on this node
  auto operator<=>(const Backend&) const = default;
};

struct Frontend {
  std::string name;              // <namespace>/<service>:<port name or number>, unique with the protocol
  std::string protocol;          // tcp, udp, sctp
  std::vector<std::string> ips;  // ClusterIP (v4)
  std::vector<std::string> external_ips;
  std::vector<std::string> balancer_ips;   // of status.loadBalancer, where packets keep them (ipMode VIP)
  std::vector<std::string> source_ranges;  // who may use balancer_ips; empty: everybody
  uint16_t port = 0;
  uint16_t node_port = 0;  // 0: none
  // Sorted; ready ones, or the serving ones that terminate when none is ready. `backends` are those that the hints mean
  // for this node or its zone, if all have hints and there are some; else those of all nodes.
  std::vector<Backend> backends, local_backends;
  bool internal_local = false;    // internalTrafficPolicy: Local
  bool external_local = false;    // externalTrafficPolicy: Local
  uint32_t affinity_seconds = 0;  // 0: none
  bool operator==(const Frontend&) const = default;
};

/// The index that `slices` must have: "<namespace>/<service>" of each EndpointSlice.
inline constexpr const char* kByService = "service";
void add_service_index(projection::Cache& slices);

/// Frontends of all Services with a ClusterIP, in the order of their names, as `node` in `zone` ("": none) should see
/// them. IPv4.
std::vector<Frontend> collect_frontends(const projection::Cache& services, const projection::Cache& slices,
                                        std::string_view node, std::string_view zone = "");

}  // namespace gantry::netproxy
