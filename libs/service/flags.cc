#include "libs/service/flags.h"

#include <CLI/CLI.hpp>
#include <algorithm>

namespace gantry::service {

void add_common_flags(CLI::App& app, CommonOptions& options) {
  app.add_option("--nats-url", options.nats_url, "NATS servers, with commas: tls://host:4222")->capture_default_str();
  app.add_option("--nats-ca", options.nats_ca, "PEM file of the authority that signed the NATS servers' certificates");
  app.add_option("--nats-creds", options.nats_creds, "File with the user's JWT and seed");
  app.add_option("--identity", options.identity, "Name on the bus: the token in gantry.cmd.<identity>.*")
      ->capture_default_str();
  app.add_option("--health-listen", options.health_listen, "Address of /healthz, /readyz and /metrics")
      ->capture_default_str();
  app.add_option("--drain-timeout", options.drain_seconds, "Seconds for what is in flight after SIGTERM")
      ->capture_default_str()
      ->check(CLI::Range(0, 3600));
  app.add_option("--verbosity", options.verbosity, "Log VLOG messages up to this level")->capture_default_str();
}

void bind_environment(CLI::App& app) {
  for (auto* option : app.get_options()) {
    if (option->get_lnames().empty() || !option->get_envname().empty()) continue;
    std::string name = option->get_lnames().front();
    if (name == "help" || name == "version") continue;
    std::transform(name.begin(), name.end(), name.begin(),
                   [](unsigned char c) { return c == '-' ? '_' : static_cast<char>(std::toupper(c)); });
    option->envname("GANTRY_" + name);
  }
  for (auto* sub : app.get_subcommands([](const CLI::App*) { return true; })) bind_environment(*sub);
}

}  // namespace gantry::service
