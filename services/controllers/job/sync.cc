#include "services/controllers/job/sync.h"

#include "libs/model/json.h"
#include "libs/model/schema.h"
#include "libs/model/workload.h"
#include "schemas/api/batch_v1_generated.h"
#include "services/controllers/framework/commands.h"
#include "services/controllers/framework/pods.h"
#include "services/controllers/framework/report.h"
#include "services/controllers/framework/victims.h"
#include "services/controllers/job/policy.h"

namespace gantry::controllers {

using model::str;
using nlohmann::json;

JobSync::JobSync(model::Object job, std::vector<JobPod> pods, int64_t now, const Memory& memory, Decision& decision)
    : job_(std::move(job)),
      spec_(*job_.as<api::batch_v1::Job>()->spec()),
      pods_(std::move(pods)),
      now_(now),
      memory_(memory),
      decision_(decision),
      indexed_(str(spec_.completion_mode()) == "Indexed"),
      per_index_(indexed_ && spec_.backoff_limit_per_index().has_value()),
      suspended_(spec_.suspend().value_or(false)),
      deleting_(model::is_deleting(job_.meta())),
      parallelism_(spec_.parallelism().value_or(1)),
      completions_(spec_.completions() ? std::optional<int>(*spec_.completions()) : std::nullopt),
      before_(status_of(job_)),
      status_(before_) {}

void JobSync::run() {
  decision_.weight += pods_.size();
  count();
  if (!before_.contains("startTime") && !suspended_) status_["startTime"] = model::format_time(now_);
  find_end();
  if (end_) {
    finish_pods();
  } else {
    if (!deleting_) manage();
    bool enough = completions_ ? succeeded_ >= *completions_ : succeeded_ > 0;
    if (enough && active_ == 0 && leaving_ == 0) {
      end_ = End{"SuccessCriteriaMet", "CompletionsReached", "Reached expected number of succeeded pods"};
    } else if (!deleting_ && suspended_) {
      if (!condition_true(status_, "Suspended")) note("Normal", "Suspended", "Job suspended");
      set_condition(status_, {"Suspended", "True", "JobSuspended", "Job suspended"}, now_);
    } else if (!deleting_ && condition_true(status_, "Suspended")) {
      set_condition(status_, {"Suspended", "False", "JobResumed", "Job resumed"}, now_);
      status_["startTime"] = model::format_time(now_);  // the deadline counts from here
      note("Normal", "Resumed", "Job resumed");
    }
  }
  record();
  untrack();
  conclude();
  report_status(job_, status_, decision_);
}

void JobSync::note(const char* type, std::string_view reason, std::string_view message) {
  decision_.notes.push_back({job_, type, std::string(reason), std::string(message)});
}

bool JobSync::failure_counts(const JobPod& pod) const {
  if (!pod.tracked || !pod.counts || (indexed_ && pod.index < 0)) return false;
  if (pod.succeeded) return false;
  // What the Job itself ended after enough had succeeded did not fail.
  return pod.failed ? !end_ || failing() || !model::is_deleting(pod.object.meta()) : failing();
}

void JobSync::count() {
  std::set<std::string_view> held;  // uids of pods with the finalizer
  for (const JobPod& pod : pods_) {
    if (pod.tracked) held.insert(pod.object.uid());
    active_ += pod.active && pod.tracked;
    leaving_ += pod.active && !pod.tracked;
    ready_ += pod.ready && pod.tracked;
    terminating_ += pod.terminating;
  }
  counted_succeeded_ = before_.value("succeeded", 0);
  counted_failed_ = before_.value("failed", 0);
  const json uncounted = before_.value("uncountedTerminatedPods", json::object());
  auto take = [&](const char* field, auto& said, auto& left, int64_t& counter) {
    for (const json& uid : uncounted.value(field, json::array())) {
      auto text = uid.get<std::string>();
      if (!said.insert(text).second) continue;
      if (held.contains(text)) {
        left.push_back(std::move(text));
      } else {
        ++counter;  // the pod has no finalizer any more, or is gone: this is its only count
      }
    }
  };
  take("succeeded", said_succeeded_, uncounted_succeeded_, counted_succeeded_);
  take("failed", said_failed_, uncounted_failed_, counted_failed_);

  const int limit = completions_.value_or(0);
  if (indexed_) {
    done_ = done_before_ = IndexSet::parse(before_.value("completedIndexes", ""), limit);
    if (per_index_) failed_indexes_ = failed_before_ = IndexSet::parse(before_.value("failedIndexes", ""), limit);
  }
  // In the order of indexes: what is made known first is lowest.
  succeeded_ = counted_succeeded_ + static_cast<int64_t>(uncounted_succeeded_.size());
  failed_ = counted_failed_ + static_cast<int64_t>(uncounted_failed_.size());
  for (const JobPod& pod : pods_) {
    if (!pod.tracked) continue;
    if (pod.succeeded) {
      if (indexed_ && pod.index >= 0) done_.add(pod.index);
      if (!indexed_ && !said_succeeded_.contains(pod.object.uid()) && !said_failed_.contains(pod.object.uid()))
        ++succeeded_;
    } else if (failure_counts(pod) && !said_failed_.contains(pod.object.uid())) {
      ++failed_;
    }
  }
  if (indexed_) succeeded_ = done_.total();
  // Once it is to end, what it ends itself fails no index.
  if (!per_index_ || condition_true(before_, "FailureTarget") || condition_true(before_, "SuccessCriteriaMet")) return;
  std::set<int> running;
  for (const JobPod& pod : pods_) {
    if (pod.active) running.insert(pod.index);
    if (!pod.failed || pod.index < 0 || done_.has(pod.index)) continue;
    if (pod.fails_index || (pod.counts && counted_failures(pod.object) >= *spec_.backoff_limit_per_index()))
      failed_indexes_.add(pod.index);
  }
  // The last failed pod of an index stays until its successor carries the count on.
  for (const JobPod& pod : pods_) {
    if (!pod.failed || !pod.tracked || pod.index < 0 || running.contains(pod.index)) continue;
    if (done_.has(pod.index) || failed_indexes_.has(pod.index)) continue;
    const JobPod*& last = last_failed_[pod.index];
    if (last == nullptr || all_failures(last->object) < all_failures(pod.object) ||
        (all_failures(last->object) == all_failures(pod.object) &&
         pod_finished_at(last->object) <= pod_finished_at(pod.object)))
      last = &pod;
  }
}

void JobSync::find_end() {
  for (const char* type : {"SuccessCriteriaMet", "FailureTarget"}) {
    if (!condition_true(before_, type)) continue;
    const json& c = *find_condition(before_, type);
    end_ = End{type, c.value("reason", ""), c.value("message", "")};
    end_stored_ = true;
    return;
  }
  end_ = failure();
  if (!end_ && check_deadline())
    end_ = End{"FailureTarget", "DeadlineExceeded", "Job was active longer than specified deadline"};
  if (end_ || !indexed_) return;
  if (auto met = success_met(spec_.success_policy(), *completions_, done_))
    end_ = End{"SuccessCriteriaMet", "SuccessPolicy", *met};
}

std::optional<JobSync::End> JobSync::failure() const {
  for (const JobPod& pod : pods_) {
    if (!pod.fails_job.empty()) return End{"FailureTarget", "PodFailurePolicy", pod.fails_job};
  }
  if (failed_ > spec_.backoff_limit().value_or(6) || past_restart_limit())
    return End{"FailureTarget", "BackoffLimitExceeded", "Job has reached the specified backoff limit"};
  if (!per_index_) return std::nullopt;
  if (spec_.max_failed_indexes() && failed_indexes_.total() > *spec_.max_failed_indexes())
    return End{"FailureTarget", "MaxFailedIndexesExceeded",
               "Job has exceeded the specified maximal number of failed indexes"};
  if (!failed_indexes_.empty() && failed_indexes_.total() + done_.total() >= *completions_)
    return End{"FailureTarget", "FailedIndexes", "Job has failed indexes"};
  return std::nullopt;
}

/// Containers that are restarted in their pods: their restarts count instead of pods.
bool JobSync::past_restart_limit() const {
  const auto* pod_template = spec_.template_();
  if (pod_template == nullptr || pod_template->spec() == nullptr ||
      str(pod_template->spec()->restart_policy()) != "OnFailure")
    return false;
  int64_t restarts = 0;
  for (const JobPod& p : pods_) {
    const auto* status = p.object.as<api::core_v1::Pod>()->status();
    if (status == nullptr || model::pod_terminal(*p.object.as<api::core_v1::Pod>())) continue;
    for (const auto* list : {status->init_container_statuses(), status->container_statuses()}) {
      if (list == nullptr) continue;
      for (const auto* c : *list) restarts += c->restart_count().value_or(0);
    }
  }
  const int limit = spec_.backoff_limit().value_or(6);
  return limit == 0 ? restarts > 0 : restarts >= limit;
}

bool JobSync::check_deadline() {
  if (!spec_.active_deadline_seconds() || suspended_) return false;
  // A resumed Job starts anew in this very decision.
  if (condition_true(before_, "Suspended")) {
    decision_.wake((now_ + *spec_.active_deadline_seconds()) * 1'000'000);
    return false;
  }
  auto started = model::parse_time(status_.value("startTime", ""));
  if (!started.ok()) return false;
  const int64_t until = *started / 1'000'000 + *spec_.active_deadline_seconds();
  if (now_ >= until) return true;
  decision_.wake(until * 1'000'000);
  return false;
}

void JobSync::finish_pods() {
  std::vector<const JobPod*> running;
  for (const JobPod& pod : pods_) {
    if (pod.active) running.push_back(&pod);
  }
  for (const JobPod* pod : running) {
    touched_.insert(pod->object.name());
    decision_.commands.push_back(
        {remove(pod->object),
         projection::Note{job_, "Normal", "SuccessfulDelete", fmt::format("Deleted pod: {}", pod->object.name())},
         projection::Note{job_, "Warning", "FailedDelete", "Error deleting: {}"}});
  }
}

void JobSync::record() {
  auto list = [](const std::vector<std::string>& uids) { return json(uids); };
  size_t room = uncounted_succeeded_.size() + uncounted_failed_.size();
  room = room < kMostUncounted ? kMostUncounted - room : 0;
  for (const JobPod& pod : pods_) {
    if (room == 0) break;
    std::string uid(pod.object.uid());
    if (!pod.tracked || said_failed_.contains(uid) || said_succeeded_.contains(uid)) continue;
    if (pod.succeeded && !indexed_) {
      uncounted_succeeded_.push_back(std::move(uid)), --room;
    } else if (failure_counts(pod)) {
      uncounted_failed_.push_back(std::move(uid)), --room;
    }
  }
  json uncounted = json::object();
  if (!uncounted_succeeded_.empty()) uncounted["succeeded"] = list(uncounted_succeeded_);
  if (!uncounted_failed_.empty()) uncounted["failed"] = list(uncounted_failed_);
  status_["uncountedTerminatedPods"] = uncounted;
  put_count(status_, "active", active_);
  put_count(status_, "succeeded", indexed_ ? done_.total() : counted_succeeded_);
  put_count(status_, "failed", counted_failed_);
  status_["ready"] = ready_;
  status_["terminating"] = terminating_;
  if (indexed_) {
    std::string text = done_.to_string();
    if (text.empty()) {
      status_.erase("completedIndexes");
    } else {
      status_["completedIndexes"] = text;
    }
  }
  if (per_index_) status_["failedIndexes"] = failed_indexes_.to_string();
}

/// The stored status knows all that the pod has to tell.
bool JobSync::recorded(const JobPod& pod) const {
  if (deleting_) return true;
  if (end_ && !end_stored_) return false;
  if (pod.succeeded && !said_failed_.contains(pod.object.uid()))
    return indexed_ ? pod.index < 0 || done_before_.has(pod.index) : said_succeeded_.contains(pod.object.uid());
  if (per_index_ && failed_indexes_.has(pod.index) && !failed_before_.has(pod.index)) return false;
  return !failure_counts(pod) || said_failed_.contains(pod.object.uid());
}

void JobSync::untrack() {
  for (const JobPod& pod : pods_) {
    if (!pod.tracked || touched_.contains(pod.object.name())) continue;
    bool ended = deleting_ || end_ || pod.succeeded;
    if (!ended && pod.failed) {
      auto last = last_failed_.find(pod.index);
      ended = last == last_failed_.end() || last->second != &pod;
    }
    if (ended && recorded(pod)) decision_.add(drop_finalizer(pod.object, kJobTracking));
  }
}

void JobSync::conclude() {
  if (!end_) return;
  set_condition(status_, {end_->type, "True", end_->reason, end_->message}, now_);
  // The last word waits until every pod has ended and was counted.
  if (active_ + leaving_ + terminating_ > 0 || !uncounted_succeeded_.empty() || !uncounted_failed_.empty()) return;
  if (std::any_of(pods_.begin(), pods_.end(), [](const JobPod& pod) { return pod.tracked; })) return;
  if (failing()) {
    set_condition(status_, {"Failed", "True", end_->reason, end_->message}, now_);
    note("Warning", end_->reason, end_->message);
  } else {
    set_condition(status_, {"Complete", "True", end_->reason, end_->message}, now_);
    status_["completionTime"] = model::format_time(now_);
    note("Normal", "Completed", "Job completed");
  }
}

}  // namespace gantry::controllers
