// The network of a dev cluster: one bridge in the machine's own namespace, and a namespace for each node with a leg in
// it.
#pragma once

#include <string>
#include <vector>

#include "libs/base/result.h"

namespace gantry::dev {

inline constexpr const char* kBridge = "gantry0";
inline constexpr const char* kBridgeAddress = "172.30.0.1";

/// `node-1` is 172.30.0.11. Numbers start at 1.
std::string node_name(int number);
std::string node_address(int number);
/// The file to enter it by: /run/netns/gantry-node-1.
std::string network_namespace(const std::string& node);

/// Makes what is missing of bridge, namespaces, veth pairs, addresses and routes; leaves the rest alone.
Status ensure_network(int nodes);
/// Cuts or mends a node's leg: what a pulled cable does. The namespace and what runs in it stay.
Status set_link(const std::string& node, bool up);
/// Removes every node's namespace, the bridge, and nftables tables whose name begins with "gantry".
void remove_network();
/// What remove_network() should have removed.
std::vector<std::string> network_leftovers();

}  // namespace gantry::dev
