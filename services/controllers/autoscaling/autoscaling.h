// Sizes what a HorizontalPodAutoscaler points at by what its pods use.
//
// What they use comes from the node agents over the bus (libs/usage), so an autoscaler is decided each second on what
// was heard last, not every 15 s on what was scraped.
#pragma once

#include "libs/usage/usage_board.h"
#include "services/controllers/autoscaling/behavior.h"
#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

/// Who knows what pods use.
class PodUsage {
 public:
  virtual ~PodUsage() = default;
  virtual std::optional<usage::PodMeasured> pod(std::string_view uid) const = 0;
};

class AutoscalingController final : public Controller {
 public:
  /// Both outlive it.
  AutoscalingController(const PodUsage& usage, ScalingHistory& history) : usage_(usage), history_(history) {}

  std::string_view name() const override { return "autoscaling"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override {
    return {"horizontalpodautoscalers", "deployments", "replicasets", "statefulsets", "replicationcontrollers"};
  }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
  void on_lead(WallMicros) override { history_.clear(); }

 private:
  const PodUsage& usage_;
  ScalingHistory& history_;
};

}  // namespace gantry::controllers
