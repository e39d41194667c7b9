// A Job's pods as its decisions see them. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "libs/model/draft.h"
#include "libs/model/object.h"
#include "schemas/api/batch_v1_generated.h"

namespace gantry::controllers {

inline constexpr const char* kJobTracking = "batch.kubernetes.io/job-tracking";

struct JobPod {
  model::Object object;
  int index = -1;        // of an Indexed Job; -1: none, or beyond the completions
  bool tracked = false;  // has the finalizer: not counted for good yet
  bool succeeded = false;
  bool failed = false;       // as the Job sees it: a deleted pod too, where it replaces those at once
  bool active = false;       // neither at its end nor being deleted
  bool terminating = false;  // being deleted, still running
  bool ready = false;
  bool counts = true;  // its failure counts (failed only)
  bool fails_index = false;
  std::string fails_job;
};

/// The Job waits for the end of a pod before it replaces it.
bool replaces_failed_only(const api::batch_v1::JobSpec& spec);
std::vector<JobPod> describe(const std::vector<model::Object>& pods, const api::batch_v1::JobSpec& spec);

/// How often the pod's index had failed before it was made: counted failures, and all.
int counted_failures(const model::Object& pod);
int all_failures(const model::Object& pod);

/// A new pod: of `index` (-1: not indexed), in place of `replaced` (null: the first) where indexes have limits.
model::Bytes make_job_pod(const model::Object& job, int index, const JobPod* replaced);

}  // namespace gantry::controllers
