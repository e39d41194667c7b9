// How many pods a Job that has not ended should have, and which.
#include <climits>

#include "libs/model/schema.h"
#include "schemas/api/batch_v1_generated.h"
#include "services/controllers/framework/commands.h"
#include "services/controllers/framework/pods.h"
#include "services/controllers/framework/victims.h"
#include "services/controllers/job/sync.h"

namespace gantry::controllers {

void JobSync::manage() {
  // Those whose finalizer was taken away so that their end does not count.
  for (const JobPod& pod : pods_) {
    if (!pod.active || pod.tracked) continue;
    touched_.insert(pod.object.name());
    decision_.commands.push_back(
        {remove(pod.object),
         projection::Note{job_, "Normal", "SuccessfulDelete", fmt::format("Deleted pod: {}", pod.object.name())},
         projection::Note{job_, "Warning", "FailedDelete", "Error deleting: {}"}});
  }
  if (suspended_) return remove_some(surplus(active_));
  int64_t want = parallelism_;
  if (completions_) {
    want = std::max<int64_t>(0, std::min<int64_t>(parallelism_, *completions_ - succeeded_));
  } else if (succeeded_ > 0) {
    want = active_;  // what runs may end
  }
  auto victims = surplus(static_cast<int>(std::max<int64_t>(0, active_ - want)));
  if (!victims.empty()) return remove_some(std::move(victims));
  // Pods that are to end keep their places if only failed ones are replaced.
  const int places = replaces_failed_only(spec_) ? terminating_ + leaving_ : 0;
  const int64_t missing = want - active_ - places;
  if (missing > 0) make(static_cast<int>(missing));
}

/// Those too many: what has no index or another's first, then as a ReplicaSet chooses.
std::vector<const JobPod*> JobSync::surplus(int at_least) const {
  std::vector<const JobPod*> victims, left;
  std::map<int, const JobPod*> keep;
  for (const JobPod& pod : pods_) {
    if (!pod.active || !pod.tracked) continue;
    if (!indexed_) {
      left.push_back(&pod);
    } else if (pod.index < 0) {
      victims.push_back(&pod);
    } else if (const JobPod*& kept = keep[pod.index]; kept == nullptr) {
      kept = &pod;
    } else {
      victims.push_back(pod.ready && !kept->ready ? std::exchange(kept, &pod) : &pod);
    }
  }
  for (const auto& [index, pod] : keep) left.push_back(pod);
  const size_t wanted = static_cast<size_t>(at_least);
  if (victims.size() < wanted) {
    std::vector<model::Object> objects;
    for (const JobPod* pod : left) objects.push_back(pod->object);
    std::set<std::string> chosen;
    for (const auto& o : pick_victims(objects, wanted - victims.size(), [](std::string_view) { return 0; }))
      chosen.emplace(o.uid());
    for (const JobPod* pod : left) {
      if (chosen.contains(std::string(pod->object.uid()))) victims.push_back(pod);
    }
  }
  if (victims.size() > kBurst) victims.resize(kBurst);
  return victims;
}

/// First without their finalizer, so that their end is no failure; the next decision deletes them.
void JobSync::remove_some(std::vector<const JobPod*> victims) {
  for (const JobPod* pod : victims) {
    touched_.insert(pod->object.name());
    decision_.add(drop_finalizer(pod->object, kJobTracking));
  }
}

/// Until when no pod is to be made: 10 s after the first failure since the last success, doubled with each.
int64_t JobSync::backoff_until() const {
  int64_t last_success = 0, last_failure = 0;
  for (const JobPod& pod : pods_) {
    if (pod.succeeded) last_success = std::max(last_success, pod_finished_at(pod.object));
  }
  int failures = 0;
  for (const JobPod& pod : pods_) {
    if (!pod.failed || (!pod.tracked && pod.object.meta()->deletion_timestamp())) continue;
    const int64_t at = pod_finished_at(pod.object);
    if (at <= last_success) continue;
    ++failures;
    last_failure = std::max(last_failure, at);
  }
  return failures == 0 ? 0 : last_failure + std::min(kBackoffMost, kBackoffFirst << std::min(failures - 1, 16));
}

std::vector<int> JobSync::pending_indexes(int most) {
  std::set<int> taken;
  const bool late = replaces_failed_only(spec_);
  for (const JobPod& pod : pods_) {
    if (pod.active || (late && pod.terminating)) taken.insert(pod.index);
  }
  std::vector<int> indexes;
  for (int i = 0; static_cast<int>(indexes.size()) < most;) {
    int next = failed_indexes_.absent_from(done_.absent_from(i));
    if (next != i) {
      i = next;
      continue;
    }
    if (i >= *completions_) break;
    bool free = !taken.contains(i);
    if (auto last = last_failed_.find(i); free && last != last_failed_.end()) {
      const int failures = all_failures(last->second->object);
      const int64_t until =
          pod_finished_at(last->second->object) + std::min(kBackoffMost, kBackoffFirst << std::min(failures, 16));
      free = until <= now_;
      if (!free) decision_.wake(until * 1'000'000);
    }
    if (free) indexes.push_back(i);
    ++i;
  }
  return indexes;
}

void JobSync::make(int missing) {
  if (!per_index_) {
    const int64_t until = backoff_until();
    if (until > now_) return decision_.wake(until * 1'000'000);
  }
  // After a failure one create goes ahead to see whether the others have a chance.
  missing = memory_.failures > 0 ? 1 : std::min(missing, kBurst);
  std::vector<int> indexes = indexed_ ? pending_indexes(missing) : std::vector<int>(missing, -1);
  static const model::Kind& kind = *model::Schema::get().by_resource("pods");
  for (int index : indexes) {
    auto last = last_failed_.find(index);
    decision_.commands.push_back(
        {create(kind, job_.ns(), make_job_pod(job_, index, last == last_failed_.end() ? nullptr : last->second)),
         projection::Note{job_, "Normal", "SuccessfulCreate", "Created pod: {}"},
         projection::Note{job_, "Warning", "FailedCreate", "Error creating: {}"}});
  }
}

}  // namespace gantry::controllers
