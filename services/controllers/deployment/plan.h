// The arithmetic of a rollout: how many replicas each ReplicaSet should have next. Plain numbers in and out.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "schemas/api/apps_v1_generated.h"
#include "services/controllers/framework/percent.h"

namespace gantry::controllers {

/// What the plan needs to know of one ReplicaSet. `index` is the caller's.
struct Member {
  size_t index = 0;
  std::string name;
  int64_t created = 0;
  int32_t replicas = 0;  // spec
  int32_t actual = 0;    // status.replicas
  int32_t ready = 0, available = 0;
  bool settled = true;                                   // the status is of this spec
  int32_t desired_annotation = -1, max_annotation = -1;  // -1: absent
};

struct Rollout {
  int32_t replicas = 1;
  int32_t max_surge = 0, max_unavailable = 0;  // resolved; 0 and 0 under Recreate
  bool rolling = true;
};

/// From the Deployment's spec, with Kubernetes' defaults (25%) and rounding: surge up, unavailable down, never both 0.
Rollout resolve(const api::apps_v1::DeploymentSpec& spec);

struct Scale {
  size_t index;
  int32_t replicas;
};

/// The new ReplicaSet's size, given that all others are as they are. `news` may be a member that is not there yet
/// (replicas 0).
int32_t new_size(const Rollout& rollout, const Member& news, const std::vector<Member>& olds);
/// One step of scaling the old ones down within the availability bound. Empty: nothing to do now, as while a status
/// does not tell yet which pods its ReplicaSet took away.
std::vector<Scale> shrink_old(const Rollout& rollout, const Member& news, std::vector<Member> olds);
/// After spec.replicas changed in the middle of a rollout (or while paused): spreads the difference in proportion to
/// sizes. `news` may be null.
std::vector<Scale> rescale(const Rollout& rollout, const Member* news, std::vector<Member> olds);

}  // namespace gantry::controllers
