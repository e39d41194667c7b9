// Removes tokens that mean nothing any more: Secrets with the token of a ServiceAccount that has gone, and bootstrap
// tokens that have expired. (Who presents one is refused in any case; this is so that nobody finds them.) It is here,
// and no controller, because a Secret's annotations and data never travel in an event. One gateway at a time does it.
// Loop's thread only.
#pragma once

#include "services/apigw/core/api.h"
#include "services/apigw/core/world.h"

namespace gantry::apigw {

class TokenCleaner {
 public:
  TokenCleaner(Loop& loop, state::Store& store, Api& api, World& world);

 private:
  bool stale(const model::Object& secret) const;
  bool any_stale() const;
  void look();
  void sweep();

  Loop& loop_;
  state::Store& store_;
  Api& api_;
  World& world_;
  const std::string holder_;
  Timer soon_, every_;
  Alive alive_;
};

}  // namespace gantry::apigw
