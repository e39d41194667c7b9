// The network configuration by which containerd's CNI plugins connect pods, written when the node's pod CIDR is known.
#pragma once

#include <string>

#include "libs/base/result.h"

namespace gantry::nodeagent {

struct CniOptions {
  std::string conf_dir, bin_dir = "/usr/lib/cni";
  std::string data_dir;  // of host-local's allocations: a node's own, since nodes can share a machine
  std::string node;
  int mtu = 1450;  // room for VXLAN
};

/// ptp, not a bridge: traffic between two pods of a node is then routed and passes the Service rules both ways. No
/// masquerading: netproxy owns that. `host_ports`: with portmap (needs iptables).
std::string render_conflist(const CniOptions& options, const std::string& pod_cidr, bool host_ports);

/// Writes <conf_dir>/10-gantry.conflist unless it already says so.
Status write_conflist(const CniOptions& options, const std::string& pod_cidr);

}  // namespace gantry::nodeagent
