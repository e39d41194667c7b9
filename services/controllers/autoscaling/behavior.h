// How fast an autoscaler may follow what its metrics ask for.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "schemas/api/autoscaling_v2_generated.h"

namespace gantry::controllers {

/// What an autoscaler wanted and did lately: soft state of the controller's process, begun anew with each term. Times
/// in unix seconds.
struct ScalingRecord {
  struct Entry {
    int64_t at = 0;
    int32_t count = 0;  // replicas wanted; replicas added or taken away
  };
  std::vector<Entry> wanted, ups, downs;
  int64_t told = 0;  // when the status was written, in unix microseconds
};

/// By the autoscaler's uid. Loop's thread only.
class ScalingHistory {
 public:
  ScalingRecord& of(std::string_view uid) { return records_[std::string(uid)]; }
  void forget(std::string_view uid) { records_.erase(std::string(uid)); }
  void clear() { records_.clear(); }

 private:
  std::map<std::string, ScalingRecord> records_;
};

struct Bounded {
  int32_t replicas = 0;
  std::string_view able_reason, able_message;  // of AbleToScale (always True)
  bool limited = false;                        // of ScalingLimited
  std::string_view limit_reason, limit_message;
};

/// `wanted` within the windows, rates and bounds of the behavior (null: Kubernetes' defaults). Notes `wanted` in the
/// record and drops what is too old from it.
Bounded bound(const api::autoscaling_v2::HorizontalPodAutoscalerBehavior* behavior, int32_t current, int32_t wanted,
              int32_t min, int32_t max, ScalingRecord& record, int64_t now);
/// A change that was made.
void note_scaling(ScalingRecord& record, int32_t from, int32_t to, int64_t now);

}  // namespace gantry::controllers
