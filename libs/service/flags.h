// Flags that every service has, and their environment: --nats-url is GANTRY_NATS_URL. A flag wins over the environment.
#pragma once

#include <chrono>
#include <string>

namespace CLI {
class App;
}

namespace gantry::service {

struct CommonOptions {
  std::string nats_url = "tls://127.0.0.1:4222";  // empty: no bus (tests)
  std::string nats_ca, nats_creds;
  std::string identity;                       // default: the service's name
  std::string health_listen = "127.0.0.1:0";  // empty: none
  int drain_seconds = 20;
  int verbosity = 0;
};

void add_common_flags(CLI::App& app, CommonOptions& options);
/// Gives every option with a long name its environment variable; in subcommands too. Call after all flags are there,
/// before parsing.
void bind_environment(CLI::App& app);

}  // namespace gantry::service
