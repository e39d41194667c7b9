// Keeps what is in use: a claim that is deleted stays until no pod on a node refers to it
// (kubernetes.io/pvc-protection), a volume until it is not bound (kubernetes.io/pv-protection). That no pod refers to a
// claim is asked of apigw, not read from the view.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

/// Keys: "claim:<namespace>/<name>" and "volume:<name>".
class VolumeProtection final : public Controller {
 public:
  std::string_view name() const override { return "persistentvolume-protection"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override { return {"persistentvolumeclaims", "persistentvolumes", "pods"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
