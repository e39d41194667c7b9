#include "tests/sim/simulation.h"

#include <fmt/format.h>

#include "tests/sim/checks.h"
#include "tests/sim/faults.h"
#include "tests/sim/monitor.h"
#include "tests/sim/workload.h"

namespace gantry::sim {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;

/// The users' part of a run: a wish every few seconds.
class Users {
 public:
  Users(Cluster& cluster, Workload& workload, uint64_t seed) : cluster_(cluster), workload_(workload), random_(seed) {
    next();
  }

 private:
  void next() {
    timer_ = cluster_.loop.after(Duration(static_cast<int64_t>(random_() % 6'000'000)), [this] {
      workload_.act();
      next();
    });
  }
  Cluster& cluster_;
  Workload& workload_;
  std::mt19937_64 random_;
  Timer timer_;
};

/// What a minute brings in which nobody wants anything: nothing but leases.
std::string check_quiet(Cluster& cluster, const Monitor& monitor) {
  auto commands = cluster.commands();
  auto commits = monitor.counts();
  cluster.loop.advance(minutes(1));
  for (const auto& [what, count] : cluster.commands()) {
    if (count != commands[what]) return fmt::format("{} commands in a quiet minute: {}", count - commands[what], what);
  }
  for (const auto& [resource, count] : monitor.counts()) {
    if (resource != "leases" && count != commits[resource])
      return fmt::format("{} commits in a quiet minute: {}", count - commits[resource], resource);
  }
  return "";
}

}  // namespace

RunOptions options_for(uint64_t seed) {
  RunOptions options;
  options.faults = seed % 10 != 0;
  options.size.replica_lag = seed % 4 == 1 ? 1 + seed % 7 : 0;
  return options;
}

Outcome run(uint64_t seed, const RunOptions& options) {
  Outcome outcome;
  Cluster cluster(seed, options.size);
  Monitor monitor(cluster);
  Workload workload(cluster, seed ^ 0x9e3779b97f4a7c15);
  Faults faults(cluster, monitor, workload, seed ^ 0xc2b2ae3d27d4eb4f, options.size.replica_lag > 0);
  if (options.faults) faults.start();
  {
    Users users(cluster, workload, seed ^ 0x165667b19e3779f9);
    cluster.loop.advance(options.trouble);
  }
  faults.stop();
  outcome.story = faults.story();
  Duration healed = cluster.loop.now();
  if (faults.lost_tail()) workload.repeat_all();

  std::string problem = "not looked at";
  Duration end = healed + options.limit;
  while (cluster.loop.now() < end && !(problem = check_declared(cluster, workload)).empty()) {
    cluster.loop.advance(seconds(1));
  }
  outcome.converged = cluster.loop.now() - healed;
  if (!problem.empty()) outcome.problems.push_back("not what was declared: " + problem);

  if (!problem.empty()) outcome.state = describe(cluster);
  if (problem.empty()) {
    // What was put off (back-offs, heads, Events) still comes; then nothing may.
    cluster.loop.advance(minutes(2));
    if (auto moved = check_declared(cluster, workload); !moved.empty())
      outcome.problems.push_back("moved on: " + moved);
    if (auto loud = check_quiet(cluster, monitor); !loud.empty()) outcome.problems.push_back("not quiet: " + loud);
    if (auto stale = check_caches(cluster); !stale.empty()) outcome.problems.push_back("not in step: " + stale);
  }
  for (const auto& violation : monitor.violations()) outcome.problems.push_back("at no moment: " + violation);
  if (cluster.network.counters().violations > 0) outcome.problems.push_back("somebody used a subject that is not his");
  outcome.trace = monitor.trace();
  outcome.commits = monitor.commits();
  outcome.messages = cluster.network.counters().delivered;
  outcome.total = cluster.loop.now();
  return outcome;
}

std::string Outcome::report(uint64_t seed) const {
  std::string text =
      fmt::format("GANTRY_SEED={} {}: {} commits, {} messages, {:.0f}s simulated, declared state after {:.0f}s\n", seed,
                  ok() ? "ok" : "FAILED", commits, messages, static_cast<double>(total.count()) / 1e6,
                  static_cast<double>(converged.count()) / 1e6);
  for (const auto& problem : problems) text += "  " + problem + "\n";
  if (ok()) return text;
  text += "  what was done:\n";
  for (const auto& line : story) text += "    " + line + "\n";
  if (!state.empty()) text += "  what there is:\n";
  for (const auto& line : state) text += "    " + line + "\n";
  return text;
}

}  // namespace gantry::sim
