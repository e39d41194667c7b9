// Sizes what a HorizontalPodAutoscaler points at by what its pods use, and by what programs tell.
//
// What pods use comes from the node agents over the bus, other metrics from whoever pushes them there (libs/usage): an
// autoscaler is decided when a metric that it names changes, and each second, not every 15 s on what was scraped.
#pragma once

#include "services/controllers/autoscaling/behavior.h"
#include "services/controllers/autoscaling/metrics.h"
#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class AutoscalingController final : public Controller {
 public:
  /// Both outlive it.
  AutoscalingController(const Measurements& measurements, ScalingHistory& history)
      : measurements_(measurements), history_(history) {}

  std::string_view name() const override { return "autoscaling"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override {
    return {"horizontalpodautoscalers", "deployments", "replicasets", "statefulsets", "replicationcontrollers"};
  }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
  /// Autoscalers that look at this pushed metric; namespace "": in all namespaces.
  static std::vector<std::string> keys_of_metric(const View& view, const std::string& ns, const std::string& name);
  void on_lead(WallMicros) override { history_.clear(); }

 private:
  const Measurements& measurements_;
  ScalingHistory& history_;
};

}  // namespace gantry::controllers
