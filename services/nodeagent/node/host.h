// What the agent hears from its machine: signals, files that change, the machine's own end.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "libs/base/uv_loop.h"

namespace gantry::nodeagent {

/// Calls back on each signal of this number, until the handle is destroyed. Loop's thread only.
std::shared_ptr<void> on_signal(UvLoop& loop, int number, std::function<void()> received);
/// Calls back when something in the directory may have changed. Null where it cannot be watched.
std::shared_ptr<void> watch_directory(UvLoop& loop, const std::string& directory, std::function<void()> changed);
/// systemd is about to stop the machine. Blocks; false where there is no systemd.
bool machine_is_stopping();

}  // namespace gantry::nodeagent
