// Leases that services hold for themselves (leader election): kept in the store, where epochs are exact, and shown as
// Lease objects. Loop's thread only.
#pragma once

#include "services/apigw/core/alive.h"
#include "services/apigw/core/plan.h"

namespace gantry::apigw {

class Leases {
 public:
  Leases(state::Store& store, Api& api) : store_(store), api_(api) {}

  /// Update leases/hold with a Lease as body: spec.holderIdentity takes or renews the lease for
  /// spec.leaseDurationSeconds. answer.revision is the epoch; kConflict names the holder. The lease's name in guards
  /// (Command.lease) is the object's name.
  void hold(const RequestPtr& request);

 private:
  void show(const bus::Command& command, const std::string& holder, int64_t seconds, WallMicros now);

  state::Store& store_;
  Api& api_;
  Alive alive_;
};

}  // namespace gantry::apigw
