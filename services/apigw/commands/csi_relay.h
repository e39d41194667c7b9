// Calls to the controller side of a CSI driver, which only the nodes that have its socket can reach: the controllers'
// command Create nodes/<node>, subresource csi, json {driver, method, request}, goes to the node over the bus, and its
// answer becomes the outcome's json. All such methods can be repeated, as the specification wants, and so can the
// command.
#pragma once

#include "libs/bus/command.h"

namespace gantry::apigw {

/// `next` gets every other command. `bus` outlives it.
bus::CommandHandler with_csi(bus::Bus& bus, bus::CommandHandler next);

}  // namespace gantry::apigw
