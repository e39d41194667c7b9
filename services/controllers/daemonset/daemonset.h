// Keeps a pod of a DaemonSet on each node that it selects. The pods name their node by affinity, so that the scheduler
// binds them.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class DaemonSetController final : public Controller {
 public:
  /// As many creates or deletes go out in one decision.
  static constexpr size_t kBurst = 250;

  std::string_view name() const override { return "daemonset"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override { return {"daemonsets", "pods", "nodes", "controllerrevisions"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
