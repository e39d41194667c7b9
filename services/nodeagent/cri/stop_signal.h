// Signals by their names, as a pod's lifecycle.stopSignal has them.
#pragma once

#include <optional>
#include <string_view>

namespace gantry::nodeagent {

/// SIGUSR1 -> 10, SIGRTMIN+3 -> 37; nothing for what is no signal of Linux.
std::optional<int> signal_number(std::string_view name);

}  // namespace gantry::nodeagent
