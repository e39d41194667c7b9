// How many replicas a metric asks for. Pure functions, as Kubernetes computes them.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libs/base/result.h"
#include "libs/model/object.h"

namespace gantry::controllers {

/// What one pod uses of the resource in question, in thousandths; the metric's own time and window in unix seconds.
struct PodUse {
  int64_t milli = 0;
  int64_t time = 0, window = 0;
};

struct ScaledPod {
  model::Object object;
  std::optional<PodUse> use;  // nullopt: not measured
  int64_t requested = 0;      // of the resource, in thousandths
};

struct Tolerances {
  double up = 0.1, down = 0.1;
};

struct Target {
  bool cpu = false;                    // pods that start use a lot of it: not counted at first
  std::optional<int32_t> utilization;  // percent of what is requested
  int64_t average_milli = 0;           // or this much a pod
};

struct Proposal {
  int32_t replicas = 0;
  std::optional<int32_t> utilization;  // what it is now
  int64_t average_milli = 0;
};

/// kUnavailable, in Kubernetes' words, when nothing can be said.
Result<Proposal> propose(const std::vector<ScaledPod>& pods, int32_t current, const Target& target,
                         const Tolerances& tolerances, int64_t now);

/// One number for all pods together: of an object, or of something outside of the cluster.
struct Whole {
  int64_t milli = 0, target_milli = 0;
  bool per_pod = false;  // the target is of each pod
  int32_t current = 0, reported = 0, ready = 0;
};

/// As propose(); also from and to zero. In average_milli what the status shows: the number, or each pod's share.
Result<Proposal> propose_whole(const Whole& whole, const Tolerances& tolerances);

}  // namespace gantry::controllers
