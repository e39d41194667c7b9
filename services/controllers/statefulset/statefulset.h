// Keeps the pods of a StatefulSet: each with a name, a place in the order and claims of its own.
//
// Steps follow each other: claims before their pod, the owners of claims before the pod goes, one pod after another
// unless the set is Parallel. A decision does what can be done now; what it waits for wakes it.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class StatefulSetController final : public Controller {
 public:
  std::string_view name() const override { return "statefulset"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override {
    return {"statefulsets", "pods", "controllerrevisions", "persistentvolumeclaims"};
  }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
