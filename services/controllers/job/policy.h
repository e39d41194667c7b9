// What a Job's policies say about its pods: which failures count, and when enough has succeeded. Pure functions.
#pragma once

#include <optional>
#include <string>

#include "libs/model/object.h"
#include "schemas/api/batch_v1_generated.h"
#include "services/controllers/job/indexes.h"

namespace gantry::controllers {

struct FailureVerdict {
  bool counts = true;        // toward backoffLimit
  bool fails_index = false;  // whatever the index' own limit
  std::string fails_job;     // the message, when the whole Job fails
};
/// The first rule that matches a failed pod; without a policy, or a match, the failure counts.
FailureVerdict judge_failure(const api::batch_v1::PodFailurePolicy* policy, const model::Object& pod);

/// The message of the first rule that is met.
std::optional<std::string> success_met(const api::batch_v1::SuccessPolicy* policy, int completions,
                                       const IndexSet& succeeded);

}  // namespace gantry::controllers
