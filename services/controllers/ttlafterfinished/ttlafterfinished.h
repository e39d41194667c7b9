// Deletes Jobs some time after they have finished, as their ttlSecondsAfterFinished says.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class TtlAfterFinishedController final : public Controller {
 public:
  std::string_view name() const override { return "ttlafterfinished"; }
  void setup(View& view) override { view.need("jobs"); }
  std::vector<std::string> watches() const override { return {"jobs"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
