// Gives every active namespace its ConfigMap "kube-root-ca.crt", by which pods check the API's certificate: made where
// it is missing, put right where it was changed. New namespaces have it from the gateway already.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class RootCaController final : public Controller {
 public:
  /// `pem`: the authority's certificates; empty: ConfigMaps are left alone.
  explicit RootCaController(std::string pem) : pem_(std::move(pem)) {}

  std::string_view name() const override { return "rootca"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override { return {"namespaces", "configmaps"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;

 private:
  std::string pem_;
};

}  // namespace gantry::controllers
