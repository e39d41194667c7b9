// What goes wrong in a run: a plan drawn from the seed, one disturbance after another, some of them at once.
#pragma once

#include <random>
#include <string>
#include <vector>

#include "tests/sim/cluster.h"
#include "tests/sim/monitor.h"
#include "tests/sim/workload.h"

namespace gantry::sim {

class Faults {
 public:
  /// `lose_tails`: the store may fail over to a replica that lacks the last commits (Size::replica_lag).
  Faults(Cluster& cluster, Monitor& monitor, Workload& workload, uint64_t seed, bool lose_tails);

  /// Begins, and goes on until stop().
  void start();
  /// Nothing goes wrong any more, and what was broken is mended.
  void stop();
  /// What was done, for the report of a failing seed.
  const std::vector<std::string>& story() const { return story_; }
  bool lost_tail() const { return lost_tail_; }

 private:
  void next();
  void strike();
  void network_trouble();
  void store_trouble();
  void store_crash();
  void cut(const std::string& name);
  void kill(const std::string& name);
  std::string someone();
  double fraction() { return static_cast<double>(random_() % 1'000'000) / 1e6; }
  int pick(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }
  Duration seconds(double least, double most);
  void tell(std::string what);
  /// Runs `end` then, unless stop() comes first.
  void later(Duration after, std::function<void()> end);

  Cluster& cluster_;
  Monitor& monitor_;
  Workload& workload_;
  std::mt19937_64 random_;
  bool lose_tails_, lost_tail_ = false;
  std::vector<std::string> story_;
  Timer next_;
  std::map<uint64_t, Timer> ends_;
  uint64_t next_end_ = 0;
};

}  // namespace gantry::sim
