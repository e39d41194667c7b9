// Rolls a Deployment's pod template out through ReplicaSets, one for each template: RollingUpdate within maxSurge and
// maxUnavailable, Recreate, pause, proportional scaling, revisions and their history, progress deadline. Status and
// annotations are those that kubectl rollout reads.
//
//   decide = adopt/release ReplicaSets -> find or make the new one -> scale (plan.h) -> status (status.h)
//
// Each decision takes one step and reports; what the step changes wakes the next decision.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class DeploymentController final : public Controller {
 public:
  std::string_view name() const override { return "deployment"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override { return {"deployments", "replicasets", "pods"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
