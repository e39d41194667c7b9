// A Deployment's status: counts and the conditions Available, Progressing and ReplicaFailure. Pure functions.
#pragma once

#include <optional>
#include <vector>

#include "libs/model/object.h"
#include "services/controllers/deployment/plan.h"

namespace gantry::controllers {

/// What happened in this decision that Progressing tells.
struct Progress {
  std::string new_name;                         // of the new ReplicaSet, "" while there is none
  bool created = false, found = false;          // it was made, or taken up, just now
  std::string create_error;                     // it could not be made
  std::string failure_reason, failure_message;  // ReplicaFailure of one of the ReplicaSets
  bool scaling_only = false;                    // paused, or only the size changed: Progressing stays as it is
  int32_t collisions = 0;
};

struct StatusResult {
  std::optional<model::Bytes> changed;  // the Deployment with its new status, if it differs
  std::optional<int64_t> check_at;      // unix seconds: when the progress deadline ends
  bool complete = false;
};

/// `members`: all ReplicaSets; `news`: the new one or null.
StatusResult make_status(const model::Object& deployment, const Rollout& rollout, const std::vector<Member>& members,
                         const Member* news, const Progress& progress, int64_t now);

}  // namespace gantry::controllers
