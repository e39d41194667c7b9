// Chance for property tests: the same seed makes the same run. GANTRY_SEED and GANTRY_STEPS take other and longer ones.
#pragma once

#include <cstdint>
#include <random>
#include <vector>

namespace gantry::controllers::testing {

class Dice {
 public:
  explicit Dice(int steps);
  uint64_t seed() const { return seed_; }
  int steps() const { return steps_; }
  /// 0 to n - 1.
  int pick(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }
  bool chance(int percent) { return pick(100) < percent; }
  template <typename T>
  const T& of(const std::vector<T>& all) {
    return all[static_cast<size_t>(pick(static_cast<int>(all.size())))];
  }

 private:
  uint64_t seed_;
  int steps_;
  std::mt19937_64 random_;
};

}  // namespace gantry::controllers::testing
