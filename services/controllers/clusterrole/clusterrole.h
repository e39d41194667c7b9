// Writes into every ClusterRole with an aggregationRule the rules of the ClusterRoles that it selects, so that whoever
// reads it sees what it grants. (Authorization looks at the selected roles themselves and does not wait for this.)
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class ClusterRoleController final : public Controller {
 public:
  std::string_view name() const override { return "clusterrole"; }
  void setup(View& view) override { view.need("clusterroles"); }
  std::vector<std::string> watches() const override { return {"clusterroles"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
