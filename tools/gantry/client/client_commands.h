// `gantry get`, `apply`, ...: the cluster's gateway over the bus.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace gantry::client {

/// Adds the subcommands to `app`; the chosen one runs in CLI11's callback and sets `exit_code`.
/// `after_dashes`: the arguments after `--`, which `app` does not get to see: they are another program's.
void add_client_commands(CLI::App& app, int& exit_code, std::vector<std::string> after_dashes = {});

}  // namespace gantry::client
