// Keeps as many pods of a ReplicaSet as it wants: adopts and releases by selector, creates what is missing, deletes
// what is too many in Kubernetes' order, and reports the counts as status.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class ReplicaSetController final : public Controller {
 public:
  /// As many creates or deletes go out in one decision.
  static constexpr int32_t kBurst = 2000;

  std::string_view name() const override { return "replicaset"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override { return {"replicasets", "pods"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
