// `gantry get`, `apply`, ...: the cluster's gateway over the bus.
#pragma once

#include <CLI/CLI.hpp>

namespace gantry::client {

/// Adds the subcommands to `app`; the chosen one runs in CLI11's callback and sets `exit_code`.
void add_client_commands(CLI::App& app, int& exit_code);

}  // namespace gantry::client
