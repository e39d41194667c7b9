// Keeps EndpointSlices (and Endpoints, for old clients) of every Service with a selector.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class EndpointSliceController final : public Controller {
 public:
  std::string_view name() const override { return "endpointslice"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override { return {"services", "pods", "endpointslices", "endpoints"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

}  // namespace gantry::controllers
