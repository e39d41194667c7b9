// Runs pods until as many as a Job wants have succeeded, or it has failed.
//
// No finished pod is counted twice or lost: every pod carries the finalizer batch.kubernetes.io/job-tracking. What has
// ended is first named in status.uncountedTerminatedPods (or, of an Indexed Job, in completedIndexes), then loses its
// finalizer, and when the view shows that, moves into the counters. Each step is a decision of its own, so each is
// stored before the next begins.
//
//   pod ends -> uid in uncountedTerminatedPods -> finalizer gone -> status.succeeded or status.failed
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class JobController final : public Controller {
 public:
  std::string_view name() const override { return "job"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override { return {"jobs", "pods"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
