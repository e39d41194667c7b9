// gantry-sim: runs many seeds of the simulation, for tools/soak and for the one seed that failed.
#include <fmt/format.h>
#include <glog/logging.h>

#include <CLI/CLI.hpp>

#include "tests/sim/simulation.h"

int main(int argc, char** argv) {
  using namespace gantry;
  uint64_t seeds = 1, seed = 1;
  int verbosity = -1;
  bool story = false;
  CLI::App app("Runs whole clusters in simulated time, under faults, and checks what must hold");
  app.add_option("--seeds", seeds, "How many")->capture_default_str();
  app.add_option("--seed", seed, "The first")->envname("GANTRY_SEED")->capture_default_str();
  app.add_option("-v,--verbosity", verbosity, "Logs of the services: -1 none, 0 INFO and up, 1 and 2 more")
      ->capture_default_str();
  app.add_flag("--story", story, "Print the faults of every seed");
  CLI11_PARSE(app, argc, argv);
  google::InitGoogleLogging(argv[0]);
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = verbosity < 0 ? google::GLOG_FATAL : google::GLOG_INFO;
  FLAGS_v = std::max(verbosity, 0);
  uint64_t failed = 0;
  for (uint64_t i = 0; i < seeds; ++i) {
    auto outcome = sim::run(seed + i, sim::options_for(seed + i));
    fmt::print("{}", outcome.report(seed + i));
    if (story && outcome.ok()) fmt::print("    {}\n", fmt::join(outcome.story, "\n    "));
    std::fflush(stdout);
    failed += outcome.ok() ? 0 : 1;
  }
  fmt::print("{} seeds, {} failed\n", seeds, failed);
  return failed == 0 ? 0 : 1;
}
