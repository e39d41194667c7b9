// When a node runs short: which conditions it shows, and whom it lets go. Pure functions.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "libs/base/loop.h"
#include "libs/base/result.h"

namespace gantry::nodeagent {

/// memory.available, nodefs.available, nodefs.inodesFree, imagefs.available, imagefs.inodesFree, pid.available.
struct Signal {
  int64_t available = 0, capacity = 0;
};
using Signals = std::map<std::string, Signal, std::less<>>;

struct Threshold {
  std::string signal;
  int64_t value = 0;      // bytes or a count
  double percentage = 0;  // of the capacity, when not 0
  Duration grace{0};      // a soft one must hold so long
  bool soft = false;
  int64_t minimum_reclaim = 0;
  int64_t quantity(const Signal& signal) const;
};

/// "memory.available<100Mi,nodefs.available<10%". kInvalid names what cannot be read.
Result<std::vector<Threshold>> parse_thresholds(std::string_view text);
/// With the times of soft ones: "memory.available=1m30s". Each soft threshold needs one.
Result<std::vector<Threshold>> parse_soft_thresholds(std::string_view text, std::string_view graces);

struct EvictionOptions {
  std::vector<Threshold> thresholds;
  Duration pressure_transition = std::chrono::minutes(5);  // a condition stays so long after its cause is gone
  int64_t max_pod_grace_seconds = 0;                       // for soft thresholds
};

/// A pod that may have to go.
struct PodUse {
  std::string uid;
  int64_t priority = 0;
  bool critical = false;  // static, or of a system priority: never
  int64_t memory = 0, memory_request = 0, disk = 0, disk_request = 0, processes = 0;
  struct Container {
    std::string name;
    int64_t memory = 0, memory_request = 0, disk = 0, disk_request = 0;
  };
  std::vector<Container> containers;
};

/// What is remembered between looks.
struct EvictionMemory {
  std::map<std::string, WallMicros> first_met;      // threshold -> since when without a break
  std::map<std::string, WallMicros> last_pressure;  // condition -> when it was last caused
};

struct EvictionDecision {
  bool memory_pressure = false, disk_pressure = false, pid_pressure = false;
  std::string starved;        // the signal that is acted on now; "" when there is none
  bool reclaim_disk = false;  // images and dead containers first
  struct Victim {
    std::string uid, message;
    int64_t grace_seconds = 0;
  };
  std::optional<Victim> victim;
};

/// One victim at a time: its end changes what the next look sees. Those above their requests go first, then by
/// priority, then by how much above.
EvictionDecision decide_eviction(const EvictionOptions& options, const Signals& signals, std::vector<PodUse> pods,
                                 WallMicros now, EvictionMemory& memory);

}  // namespace gantry::nodeagent
