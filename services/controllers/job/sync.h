// One decision about one Job that has not finished. See job.h for how pods are counted.
#pragma once

#include <nlohmann/json.hpp>
#include <set>

#include "services/controllers/framework/controller.h"
#include "services/controllers/job/indexes.h"
#include "services/controllers/job/members.h"

namespace gantry::controllers {

class JobSync {
 public:
  static constexpr size_t kMostUncounted = 500;                     // in a status, so that it stays small
  static constexpr int kBurst = 500;                                // pods made or deleted in one decision
  static constexpr int64_t kBackoffFirst = 10, kBackoffMost = 360;  // seconds

  /// `now` in unix seconds. `decision` and `memory` outlive it.
  JobSync(model::Object job, std::vector<JobPod> pods, int64_t now, const Memory& memory, Decision& decision);
  void run();

 private:
  struct End {
    std::string type;  // SuccessCriteriaMet or FailureTarget
    std::string reason, message;
  };
  void count();
  void find_end();
  std::optional<End> failure() const;
  bool past_restart_limit() const;
  bool check_deadline();
  void finish_pods();
  void manage();
  void make(int missing);
  void remove_some(std::vector<const JobPod*> victims);
  std::vector<const JobPod*> surplus(int at_least) const;
  std::vector<int> pending_indexes(int most);
  int64_t backoff_until() const;
  void record();
  bool recorded(const JobPod& pod) const;
  void untrack();
  void conclude();
  void note(const char* type, std::string_view reason, std::string_view message);
  bool failing() const { return end_ && end_->type == "FailureTarget"; }
  /// Its failure goes into the counter.
  bool failure_counts(const JobPod& pod) const;

  const model::Object job_;
  const api::batch_v1::JobSpec& spec_;
  const std::vector<JobPod> pods_;
  const int64_t now_;
  const Memory& memory_;
  Decision& decision_;
  const bool indexed_, per_index_, suspended_, deleting_;
  const int parallelism_;
  const std::optional<int> completions_;

  nlohmann::json before_, status_;
  std::set<std::string, std::less<>> said_succeeded_, said_failed_;  // uids that the stored status names
  std::vector<std::string> uncounted_succeeded_, uncounted_failed_;  // still to be counted
  IndexSet done_before_, done_, failed_before_, failed_indexes_;
  int64_t counted_succeeded_ = 0, counted_failed_ = 0;
  int64_t succeeded_ = 0, failed_ = 0;  // with all that has ended
  int active_ = 0, ready_ = 0, terminating_ = 0, leaving_ = 0;
  std::map<int, const JobPod*> last_failed_;  // by index: what the next pod of it is made after
  std::optional<End> end_;
  bool end_stored_ = false;
  std::set<std::string_view> touched_;  // names of pods that have a command already
};

}  // namespace gantry::controllers
