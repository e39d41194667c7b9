// The order of an agent's reports: (epoch, number). The epoch grows with each start and the number with each report, so
// that the gateway never takes an old report for a new one.
#pragma once

#include <cstdint>
#include <string>

#include "libs/base/result.h"

namespace gantry::nodeagent {

class Sequence {
 public:
  explicit Sequence(uint64_t epoch) : epoch_(epoch) {}
  uint64_t epoch() const { return epoch_; }
  uint64_t next() { return ++number_; }

 private:
  uint64_t epoch_, number_ = 0;
};

/// Reads the epoch at `path`, adds one and has it on the disk before it returns. A file that is missing or damaged
/// starts from the wall clock, which is above whatever was counted before.
Result<uint64_t> next_epoch(const std::string& path, uint64_t wall_seconds);

}  // namespace gantry::nodeagent
