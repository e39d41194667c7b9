// gantry-load-node: one real node under load. Needs root; beside whatever else runs.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdlib>
#include <filesystem>

#include "tools/load/node/runs.h"

int main(int argc, char** argv) {
  using namespace gantry;
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = google::GLOG_ERROR;
  CLI::App app("Measures a node: a control plane and a containerd of its own, and the agent's process");
  app.require_subcommand(1);
  load::ClusterOptions cluster;
  cluster.binaries = std::filesystem::read_symlink("/proc/self/exe").parent_path();
  cluster.port_base = 24'300;
  app.add_option("--binaries", cluster.binaries, "Folder of the services' programs")->capture_default_str();
  app.add_option("--dir", cluster.dir,
                 "Empty folder for keys, state and logs, which stay there (default: one that goes when all is well)");
  app.add_option("--port-base", cluster.port_base, "First of six ports on 127.0.0.1")->capture_default_str();

  load::ChurnOptions churn;
  auto* churn_command = app.add_subcommand("churn", "Pods come and go: what do they leave?");
  churn_command->add_option("--pods", churn.pods, "How many")->check(CLI::PositiveNumber)->capture_default_str();
  churn_command->add_option("--at-once", churn.at_once, "Of them at a time")
      ->check(CLI::Range(1, 200))
      ->capture_default_str();
  churn_command->add_option("--most-growth", churn.most_growth_mb, "Of the agent's memory, MB")->capture_default_str();

  load::KillOptions kills;
  auto* kills_command =
      app.add_subcommand("kills", "kill -9 of the agent, containerd and shims: does anything come of it?");
  kills_command->add_option("--kills", kills.kills, "How many")->check(CLI::PositiveNumber)->capture_default_str();
  kills_command->add_option("--seed", kills.seed, "Of what happens when")->capture_default_str();

  load::DensityOptions density;
  auto* density_command =
      app.add_subcommand("density", "Pods alone beside the bare CRI calls, many at once, idle, gone");
  density_command->add_option("--pods", density.pods, "At once")->check(CLI::Range(1, 200))->capture_default_str();
  density_command->add_option("--alone", density.alone, "One by one, as many by bare CRI")
      ->check(CLI::Range(4, 1000))
      ->capture_default_str();
  density_command->add_option("--idle-seconds", density.idle_seconds, "How long it is looked at with all of them")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();

  CLI11_PARSE(app, argc, argv);
  const bool temporary = cluster.dir.empty();
  if (temporary) {
    char name[] = "/tmp/gantry-load-node-XXXXXX";
    if (mkdtemp(name) == nullptr) return 1;
    cluster.dir = name;
  }
  cluster.dir = std::filesystem::absolute(cluster.dir).lexically_normal();
  churn.cluster = kills.cluster = density.cluster = cluster;
  const auto done = churn_command->parsed()     ? load::run_churn(churn)
                    : density_command->parsed() ? load::run_density(density)
                    : kills_command->parsed()   ? load::run_kills(kills)
                                                : Status(Done{});
  if (!done) fmt::print(stderr, "error: {} (logs: {}/log)\n", done.error().message, cluster.dir);
  std::error_code ignored;
  if (done && temporary) std::filesystem::remove_all(cluster.dir, ignored);
  return done ? 0 : 1;
}
