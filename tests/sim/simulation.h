// One run: a cluster, users, faults, and then silence, in which everything must come to what was declared.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/sim/cluster.h"

namespace gantry::sim {

struct RunOptions {
  Size size;
  bool faults = true;
  Duration trouble = std::chrono::seconds(150);  // users act, and faults strike
  Duration limit = std::chrono::minutes(10);     // from the last fault to what was declared
};

/// The options of a random seed: most runs have faults, some lose the tail of the store.
RunOptions options_for(uint64_t seed);

struct Outcome {
  std::vector<std::string> problems;  // empty: all properties hold
  std::vector<std::string> story;     // the faults
  std::vector<std::string> state;     // what there was at the end, if not what was declared
  uint64_t trace = 0;                 // a hash over all commits
  uint64_t commits = 0, messages = 0;
  Duration converged{};  // after the last fault
  Duration total{};      // simulated

  bool ok() const { return problems.empty(); }
  /// A few lines: the seed, what differs, and what was done.
  std::string report(uint64_t seed) const;
};

Outcome run(uint64_t seed, const RunOptions& options);

}  // namespace gantry::sim
