// Keeps the status of ResourceQuotas: puts on a new quota's accounts what was there before it, and tells in status.used
// what is used. What commits may do is decided by the accounts alone (admission/quota.h), so this may be late, be done
// twice, or by another gateway: one at a time does it. Loop's thread only.
#pragma once

#include <set>

#include "services/apigw/core/api.h"
#include "services/apigw/core/world.h"

namespace gantry::apigw {

class QuotaKeeper {
 public:
  QuotaKeeper(Loop& loop, state::Store& store, Api& api, World& world);

 private:
  void changed(std::string_view ns);
  void tick();
  void look(const std::string& ns);
  /// Compares the accounts with what is there until they agree, then says so in the quota's status.
  void audit(const model::Object& quota, std::vector<std::string> resources, int rounds);
  void compare(const model::Object& quota, const std::vector<std::string>& resources, int rounds);
  void tell(const model::Object& quota, const std::vector<std::string>& newly_tracked);
  std::vector<const model::Object*> covered(const model::Object& quota) const;

  Loop& loop_;
  state::Store& store_;
  Api& api_;
  World& world_;
  const std::string holder_;
  std::set<std::string> dirty_, auditing_;  // namespaces; uids of quotas
  Timer soon_, every_;
  Alive alive_;
};

}  // namespace gantry::apigw
