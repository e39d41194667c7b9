// `gantry dev ...`: a whole cluster on this machine.
#pragma once

#include <CLI/CLI.hpp>

namespace gantry::dev {

/// Adds the subcommands to `app`; the chosen one runs in CLI11's callback and sets `exit_code`.
void add_dev_commands(CLI::App& app, int& exit_code);

}  // namespace gantry::dev
