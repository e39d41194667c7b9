// Removes pods that nobody else will: on nodes that are gone, and those deleted before they had a node. That a node is
// gone is asked of apigw, not read from the view.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class PodGcController final : public Controller {
 public:
  std::string_view name() const override { return "podgc"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override { return {"nodes", "pods"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
