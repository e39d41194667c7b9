// Makes the claims of pods that bring them (spec.volumes[].ephemeral): <pod>-<volume>, owned by the pod and gone with
// it. A claim of that name that the pod does not own is left alone, and said so.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

/// Keys: pods.
class EphemeralVolumeController final : public Controller {
 public:
  std::string_view name() const override { return "ephemeral-volume"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override { return {"pods", "persistentvolumeclaims"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
