// The `kubernetes` Service's endpoints follow the gateways: each holds a lease in the store by its address, and takes
// the addresses whose leases have run out from the lists.
//
// A gateway that starts again at its address renews its predecessor's lease: the holder's name is the address. One that
// finds its own address missing (its lease ran out while it was away from the store) asks for it to be put back. Loop's
// thread only.
#pragma once

#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "services/apigw/core/alive.h"
#include "services/apigw/core/api.h"

namespace gantry::apigw {

class GatewayAddresses {
 public:
  static constexpr Duration kPeriod = std::chrono::seconds(5);
  static constexpr uint32_t kLeaseMillis = 15'000;

  /// `advertised`: ip:port, or empty: nothing is held and nobody is looked after.
  GatewayAddresses(Loop& loop, state::Store& store, Api& api, std::string advertised);

  /// `held`: once, when the lease is taken for the first time. `missing`: a list lacks this gateway's address.
  void start(std::function<void()> held, std::function<void()> missing);

 private:
  void renew();
  void look();
  void probe(const std::string& ip);
  void take_out(const std::string& ip);

  Loop& loop_;
  state::Store& store_;
  Api& api_;
  const std::string advertised_, ip_, port_;
  std::function<void()> held_, missing_;
  Timer timer_, retry_;
  Alive alive_;
};

}  // namespace gantry::apigw
