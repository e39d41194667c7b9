// Cluster IPs and node ports of Services, as claims in the commit: two gateways never give out the same one. The
// projection only helps to guess what is free.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "libs/base/entropy.h"
#include "libs/model/draft.h"
#include "libs/state/store.h"
#include "schemas/api/core_v1_generated.h"
#include "services/apigw/core/plan.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {

class World;

/// Loop's thread only.
class Allocator {
 public:
  Allocator(const World& world, const ApiConfig& config);

  /// Fills in what the Service `after` (already in `draft`, with defaults) needs and does not say, and returns the
  /// claims to take and to release compared with `before` (empty for a new one). A wish that cannot be granted goes to
  /// `problems`.
  std::vector<state::Operation> allocate(model::Draft& draft, const model::Object& after, const model::Object& before,
                                         Problems& problems);
  /// All claims of a Service that goes.
  std::vector<state::Operation> release(const model::Object& service) const;
  /// The claim that `made` lost to another Service: kInvalid if the request's body had wished for it, nullopt if it was
  /// drawn and can be drawn again.
  std::optional<Error> wished(const Request& request, const model::Object& made, std::string_view claim) const;
  /// No luck in many draws.
  Error exhausted(const model::Object& service) const;

  /// The address of the kubernetes Service.
  std::string first_ip() const;

 private:
  std::string random_ip();
  void allocate_ip(model::Draft& draft, const model::Object& after, const api::core_v1::ServiceSpec* old,
                   Problems& problems);
  void allocate_ports(model::Draft& draft, const model::Object& after, const api::core_v1::ServiceSpec* old,
                      Problems& problems);
  bool in_range(std::string_view ip) const;
  uint16_t random_port(const std::string& protocol, const std::vector<std::string>& taken);
  // By another Service than `by`.
  bool ip_in_use(std::string_view ip, const model::Object* by) const;
  bool port_in_use(std::string_view protocol, int port, const model::Object* by) const;

  const World& world_;
  const ApiConfig& config_;
  uint32_t base_ = 0, size_ = 0;
  std::mt19937_64 random_{random_number()};
};

/// The indexer of Services by the claims that they hold ("claim").
void index_claims(const model::Object& service, std::vector<std::string>& values);

}  // namespace gantry::apigw
