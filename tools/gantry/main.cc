// The operator's tool: `gantry dev` runs a cluster on this machine; the other commands talk to any cluster over its
// bus.
#include <glog/logging.h>

#include <CLI/CLI.hpp>

#include "tools/gantry/client/client_commands.h"
#include "tools/gantry/dev/dev_commands.h"

int main(int argc, char** argv) {
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = google::GLOG_WARNING;  // a tool says what it found, not what it did
  google::InitGoogleLogging(argv[0]);
  CLI::App app{"Gantry"};
  app.require_subcommand(1);
  int exit_code = 0;
  gantry::dev::add_dev_commands(app, exit_code);
  char** dashes = std::find(argv, argv + argc, std::string_view("--"));
  gantry::client::add_client_commands(app, exit_code, {std::min(dashes + 1, argv + argc), argv + argc});
  CLI11_PARSE(app, static_cast<int>(dashes - argv), argv);
  return exit_code;
}
