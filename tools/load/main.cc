// gantry-load: the figures of docs/performance.md.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>

#include "tools/load/api.h"
#include "tools/load/hollow.h"

int main(int argc, char** argv) {
  using namespace gantry;
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = google::GLOG_ERROR;
  CLI::App app("Measures Gantry");
  app.require_subcommand(1);
  const auto self = std::filesystem::read_symlink("/proc/self/exe");

  load::HollowOptions hollow;
  hollow.cluster.binaries = self.parent_path();
  const auto cluster_options = [&hollow](CLI::App* command, int fewest_nodes) {
    command->add_option("--nodes", hollow.nodes, "Hollow nodes")
        ->check(CLI::Range(fewest_nodes, 10'000))
        ->capture_default_str();
    command->add_option("--capacity", hollow.capacity, "Of each node")->capture_default_str();
    command->add_option("--binaries", hollow.cluster.binaries, "Folder of the services' programs")
        ->capture_default_str();
    command->add_option("--dir", hollow.cluster.dir, "Empty folder for keys, state and logs, which stay there")
        ->required();
    command
        ->add_option("--port-base", hollow.cluster.port_base,
                     "First of six ports on 127.0.0.1, and two more for each more gateway")
        ->capture_default_str();
    command->add_option("--gateways", hollow.cluster.gateways, "How many")
        ->check(CLI::Range(1, 10))
        ->capture_default_str();
  };
  auto* hollow_command = app.add_subcommand("hollow", "A control plane of its own, hollow nodes and a Deployment");
  cluster_options(hollow_command, 1);
  hollow_command->add_option("--pods", hollow.pods, "Replicas")->check(CLI::PositiveNumber)->capture_default_str();
  hollow_command->add_option("--settle", hollow.settle_seconds, "Seconds before memory is read")->capture_default_str();
  hollow_command->add_option("--timeout", hollow.timeout_seconds, "Seconds for all pods")->capture_default_str();

  auto* plane_command = app.add_subcommand("plane", "A control plane of its own and hollow nodes, until interrupted");
  cluster_options(plane_command, 0);

  load::ApiOptions api;
  api.cluster = hollow.cluster;
  auto* api_command = app.add_subcommand(
      "api", "Creates, gets, lists and watches over HTTPS, of a control plane of its own or any other");
  api_command->add_option("--dir", api.cluster.dir, "Empty folder for the control plane of its own");
  api_command->add_option("--port-base", api.cluster.port_base, "First of six ports of it")->capture_default_str();
  api_command->add_option("--binaries", api.cluster.binaries, "Folder of the services' programs")
      ->capture_default_str();
  api_command->add_option("--server", api.server, "https://ADDRESS:PORT of another, with --ca, --cert and --key");
  api_command->add_option("--ca", api.ca, "Its authority, PEM");
  api_command->add_option("--cert", api.certificate, "The client's certificate, PEM");
  api_command->add_option("--key", api.key, "The client's key, PEM");
  api_command->add_option("--pid", api.pid, "Of that server's process, to read memory and CPU");
  api_command->add_option("--pods", api.pods, "Created and listed")->check(CLI::PositiveNumber)->capture_default_str();
  api_command->add_option("--connections", api.connections, "HTTP/2 connections for creates and gets")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  api_command->add_option("--concurrency", api.concurrency, "Requests at once")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  api_command->add_option("--seconds", api.seconds, "Of gets and of events")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  api_command->add_option("--watchers", api.watchers, "Watches")->check(CLI::PositiveNumber)->capture_default_str();
  api_command->add_option("--streams", api.streams, "Watches on one connection")
      ->check(CLI::Range(1, 200))
      ->capture_default_str();
  api_command->add_option("--events", api.events, "A second, to every watch")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();

  client::ConnectOptions connect;
  int seconds = 60;
  auto* phases_command = app.add_subcommand("phases", "Listen to a running cluster while pods are made");
  phases_command->add_option("--dir", connect.dir, "Folder of the dev cluster")->capture_default_str();
  phases_command->add_option("--nats-url", connect.nats_url, "Its bus")->capture_default_str();
  phases_command->add_option("--seconds", seconds, "How long")->capture_default_str();

  CLI11_PARSE(app, argc, argv);
  if (!hollow.cluster.dir.empty())
    hollow.cluster.dir = std::filesystem::absolute(hollow.cluster.dir).lexically_normal();
  if (api_command->parsed() && api.server.empty() == api.cluster.dir.empty()) {
    fmt::print(stderr, "error: gantry-load api wants either --dir or --server\n");
    return 1;
  }
  if (!api.cluster.dir.empty()) api.cluster.dir = std::filesystem::absolute(api.cluster.dir).lexically_normal();
  const auto done = api_command->parsed()      ? load::run_api(api)
                    : hollow_command->parsed() ? load::run_hollow(hollow)
                    : plane_command->parsed()  ? load::run_plane(hollow)
                                               : load::run_phases(connect, seconds);
  if (!done) fmt::print(stderr, "error: {}\n", done.error().message);
  return done ? 0 : 1;
}
