// Gives every node a part of the cluster's pod network: spec.podCIDR. One key for the whole cluster, so that each
// decision sees all that was given before it: two nodes never get the same part.
#pragma once

#include "libs/base/result.h"
#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class PodCidrController final : public Controller {
 public:
  struct Network {
    uint32_t base = 0;
    int prefix = 16, node_prefix = 24;
    size_t parts() const { return size_t{1} << (node_prefix - prefix); }
    std::string part(size_t i) const;
    /// The part that `cidr` is, or overlaps first; nullopt when it lies outside.
    std::optional<std::pair<size_t, size_t>> parts_of(std::string_view cidr) const;
  };
  /// IPv4 only. kBadRequest for what is no network or has no room for nodes.
  static Result<Network> parse(std::string_view cluster_cidr, int node_prefix = 24);

  explicit PodCidrController(Network network) : network_(network) {}
  std::string_view name() const override { return "podcidr"; }
  void setup(View& view) override { view.need("nodes"); }
  std::vector<std::string> watches() const override { return {"nodes"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;

 private:
  Network network_;
};

}  // namespace gantry::controllers
