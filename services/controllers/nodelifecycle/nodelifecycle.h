// Follows the life of nodes by their heartbeats.
//
//   silent for longer than the grace  -> conditions Unknown, taints unreachable, its pods not ready, then pods evicted
//   when their tolerations end heard again                       -> conditions as it says, taints removed
//
// Brakes: nothing is concluded from silence while this process cannot hear, nor before it has listened for a whole
// grace (health.h); and when most nodes are silent at once, that is taken for a failure of what lies between, so
// nothing is evicted.
#pragma once

#include "services/controllers/framework/controller.h"
#include "services/controllers/nodelifecycle/health.h"

namespace gantry::controllers {

class NodeLifecycleController final : public Controller {
 public:
  /// With so large a part of all nodes silent, no pod is evicted.
  static constexpr size_t kBrakePercent = 55;
  /// So few silent nodes say nothing about the rest, whatever part of a small cluster they are; all of them do.
  static constexpr size_t kFewNodes = 2;

  explicit NodeLifecycleController(NodeHealth& health) : health_(health) {}
  std::string_view name() const override { return "nodelifecycle"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override { return {"nodes", "pods"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
  void on_lead(WallMicros) override { health_.restart(); }

 private:
  bool braked(const View& view) const;
  NodeHealth& health_;
  // Of one moment: many nodes are decided in one turn.
  mutable Duration counted_at_{-1};
  mutable bool braked_ = false;
};

}  // namespace gantry::controllers
