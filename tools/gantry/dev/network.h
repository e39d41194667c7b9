// The network of a dev cluster: one bridge in the machine's own namespace, and namespaces with a leg in it: one for
// each node, and one each for controllers and scheduler, so that they can be cut off too.
#pragma once

#include <string>
#include <vector>

#include "libs/base/result.h"

namespace gantry::dev {

inline constexpr const char* kBridge = "gantry0";
inline constexpr const char* kBridgeAddress = "172.30.0.1";
inline constexpr int kMaxNodes = 200;

/// `node-1` is 172.30.0.11. Numbers start at 1.
std::string node_name(int number);
std::string node_address(int number);
/// The file to enter a namespace by: /run/netns/gantry-node-1.
std::string network_namespace(const std::string& name);

/// Files of all namespaces of the cluster that are there.
std::vector<std::string> network_namespaces();

/// Makes what is missing of bridge, namespaces, veth pairs, addresses and routes; leaves the rest alone.
Status ensure_network(int nodes);
/// Cuts or mends a leg (of node-1, controllers, ...): what a pulled cable does. The namespace and what runs in it stay.
Status set_link(const std::string& name, bool up);
/// Removes every node's namespace, the bridge, and nftables tables whose name begins with "gantry".
void remove_network();
/// What remove_network() should have removed.
std::vector<std::string> network_leftovers();

}  // namespace gantry::dev
