// The operator's tool: `gantry dev` runs a cluster on this machine; the other commands talk to any cluster over its
// bus.
#include <fmt/format.h>
#include <glog/logging.h>

#include <CLI/CLI.hpp>

#include "libs/bus/identity.h"
#include "libs/bus/permissions.h"
#include "tools/gantry/client/client_commands.h"
#include "tools/gantry/dev/dev_commands.h"

namespace {

// A .creds file for a service, a node or an operator, on standard output.
void add_credentials_command(CLI::App& app, int& exit_code) {
  struct Options {
    std::string authority, identity;
    std::vector<std::string> subscribe, publish;
    int64_t lifetime = 0;
  };
  auto options = std::make_shared<Options>();
  auto* command = app.add_subcommand("credentials", "Issue bus credentials: node-<name>, netproxy-<name>, apigw, ...");
  command->add_option("identity", options->identity, "Name on the bus")->required();
  command->add_option("--authority", options->authority, "Folder with the cluster's keys; made if it is not there")
      ->required();
  command->add_option("--subscribe", options->subscribe, "For an integrator: a subject that it may read");
  command->add_option("--publish", options->publish, "For an integrator: a subject that it may publish on");
  command->add_option("--lifetime", options->lifetime, "Seconds; 0: for ever")->capture_default_str();
  command->callback([options, &exit_code] {
    auto authority = gantry::bus::Authority::load_or_create(options->authority, "gantry");
    if (!authority.ok()) {
      fmt::print(stderr, "{}\n", authority.error().message);
      exit_code = 1;
      return;
    }
    const bool integrator = !options->subscribe.empty() || !options->publish.empty();
    if (integrator && gantry::bus::reserved_identity(options->identity)) {
      fmt::print(stderr, "{}: a service or node is called so: its permissions are fixed\n", options->identity);
      exit_code = 1;
      return;
    }
    const auto permissions =
        integrator ? gantry::bus::integrator_permissions(options->identity, options->subscribe, options->publish)
                   : gantry::bus::permissions_for(options->identity);
    fmt::print("{}", authority->user_credentials(options->identity, permissions, ::time(nullptr), options->lifetime));
  });
}

}  // namespace

int main(int argc, char** argv) {
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = google::GLOG_WARNING;  // a tool says what it found, not what it did
  google::InitGoogleLogging(argv[0]);
  CLI::App app{"Gantry"};
  app.require_subcommand(1);
  int exit_code = 0;
  gantry::dev::add_dev_commands(app, exit_code);
  add_credentials_command(app, exit_code);
  char** dashes = std::find(argv, argv + argc, std::string_view("--"));
  gantry::client::add_client_commands(app, exit_code, {std::min(dashes + 1, argv + argc), argv + argc});
  CLI11_PARSE(app, static_cast<int>(dashes - argv), argv);
  return exit_code;
}
