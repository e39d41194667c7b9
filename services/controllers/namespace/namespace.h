// Ends namespaces: deletes what a terminating one holds, and lets go of it (spec.finalizers "kubernetes") once apigw
// says that nothing is left. The view decides nothing here: what is left is asked of apigw, which sees every commit;
// new objects are refused from the moment of the namespace's deletion.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class NamespaceController final : public Controller {
 public:
  std::string_view name() const override { return "namespace"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override { return {"namespaces", "pods"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
