// The pods and claims of a StatefulSet as its spec wants them. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libs/model/object.h"
#include "schemas/api/apps_more_v1_generated.h"

namespace gantry::controllers {

/// N of "<set>-N"; nullopt for every other name.
std::optional<int> ordinal_of(std::string_view set, std::string_view pod);

struct Replica {
  model::Object object;
  int ordinal = 0;
  std::string revision;  // the name of its ControllerRevision
  bool created = false;  // an agent or the gateway knows its phase
  bool pending = false, failed = false, succeeded = false, terminating = false;
  bool ready = false;        // Running and Ready
  bool available = false;    // for minReadySeconds
  int64_t available_at = 0;  // unix seconds; 0: not ready
  bool healthy() const { return ready && !terminating; }
};
Replica describe(const model::Object& pod, int ordinal, int32_t min_ready_seconds, int64_t now);

/// The pod `ordinal` of the set at a revision.
model::Bytes make_replica(const model::Object& set, int ordinal, const api::core_v1::PodTemplateSpec* pod_template,
                          std::string_view revision);

struct ClaimOf {
  std::string name;
  const api::core_v1::PersistentVolumeClaim* from;
};
std::vector<ClaimOf> claims_of(const model::Object& set, int ordinal);
model::Bytes make_claim(const model::Object& set, const ClaimOf& claim);

/// The merge patch that gives a claim the owners which the set's retention policy asks for; nullopt: it has them.
/// `pod` is the claim's pod, null when there is none; `condemned`: it is to be scaled away.
std::optional<std::string> owners_patch(const model::Object& set, const model::Object& claim, const model::Object* pod,
                                        bool condemned);

}  // namespace gantry::controllers
