// Gives Services of type LoadBalancer without a class an address of the configured range: status.loadBalancer. What
// carries the packets is the route to the nodes and netproxy on them. One key for the whole cluster, so that each
// decision sees all that was given before it: two Services never get the same address.
#pragma once

#include "libs/base/result.h"
#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

/// IPv4 addresses from `first` on; a range of none by default.
struct AddressRange {
  uint32_t first = 0, size = 0;  // host order
  /// A network of /16 to /32, without its first and last address if it has more than two. kBadRequest otherwise.
  static Result<AddressRange> parse(std::string_view cidr);
  std::string at(uint32_t i) const;
  std::optional<uint32_t> index(std::string_view address) const;
};

class LoadBalancerController final : public Controller {
 public:
  explicit LoadBalancerController(AddressRange range) : range_(range) {}
  std::string_view name() const override { return "loadbalancer"; }
  void setup(View& view) override { view.need("services"); }
  std::vector<std::string> watches() const override { return {"services"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;

 private:
  AddressRange range_;
};

}  // namespace gantry::controllers
