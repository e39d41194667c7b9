// Events are news, not state: they go an hour after they were last seen. One gateway at a time does it. Loop's thread
// only.
#pragma once

#include "services/apigw/core/api.h"
#include "services/apigw/core/world.h"

namespace gantry::apigw {

class EventExpiry {
 public:
  EventExpiry(Loop& loop, state::Store& store, Api& api, World& world);

 private:
  void ask();
  void sweep();

  Loop& loop_;
  state::Store& store_;
  Api& api_;
  World& world_;
  const std::string holder_;
  Timer timer_;
  Alive alive_;
};

}  // namespace gantry::apigw
