// EndpointSlices for Endpoints that somebody keeps by hand: those of a Service without a selector. Endpoints with the
// label endpointslice.kubernetes.io/skip-mirror=true have slices already.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class EndpointSliceMirroringController final : public Controller {
 public:
  std::string_view name() const override { return "endpointslicemirroring"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override { return {"endpoints", "services", "endpointslices"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
