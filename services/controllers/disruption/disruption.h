// Says how many pods of a PodDisruptionBudget may be evicted now. The gateway charges an eviction to the budget in the
// same commit; this controller finds out what became of it.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class DisruptionController final : public Controller {
 public:
  /// An evicted pod that is not gone by then was not evicted, in seconds.
  static constexpr int64_t kDeletionTimeout = 120;

  std::string_view name() const override { return "disruption"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override {
    return {"poddisruptionbudgets", "pods", "replicasets", "deployments", "statefulsets", "replicationcontrollers"};
  }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
