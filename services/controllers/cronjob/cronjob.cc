#include "services/controllers/cronjob/cronjob.h"

#include <charconv>

#include "libs/model/draft.h"
#include "libs/model/json.h"
#include "libs/model/schema.h"
#include "libs/model/workload.h"
#include "schemas/api/batch_v1_generated.h"
#include "services/controllers/cronjob/due.h"
#include "services/controllers/framework/commands.h"
#include "services/controllers/framework/report.h"

namespace gantry::controllers {

using api::batch_v1::CronJob;
using api::batch_v1::Job;
using model::str;
using nlohmann::json;

namespace {

constexpr const char* kScheduledAt = "batch.kubernetes.io/cronjob-scheduled-timestamp";
constexpr const char* kInstantiate = "cronjob.kubernetes.io/instantiate";

/// "", "Complete" or "Failed".
std::string_view end_of(const model::Object& job) {
  const auto* status = job.as<Job>()->status();
  if (status == nullptr || status->conditions() == nullptr) return "";
  for (const auto* c : *status->conditions()) {
    const std::string_view type = str(c->type());
    if ((type == "Complete" || type == "Failed") && str(c->status()) == "True") return type;
  }
  return "";
}

int64_t started_at(const model::Object& job) {
  const auto* status = job.as<Job>()->status();
  return status == nullptr ? 0 : status->start_time().value_or(0);
}

/// The minute that a Job of this CronJob was made for, in unix seconds: its name ends with it.
std::optional<int64_t> scheduled_at(const model::Object& cron_job, const model::Object& job) {
  if (str(model::lookup(job.meta()->annotations(), kInstantiate)) == "manual") return std::nullopt;
  std::string_view name = job.name();
  if (name.size() < cron_job.name().size() + 2 || !name.starts_with(cron_job.name())) return std::nullopt;
  name.remove_prefix(cron_job.name().size());
  int64_t minutes = 0;
  auto read = std::from_chars(name.data() + 1, name.data() + name.size(), minutes);
  if (name[0] != '-' || read.ec != std::errc() || read.ptr != name.data() + name.size()) return std::nullopt;
  return minutes * 60;
}

struct Step {
  const View& view;
  const model::Object object;
  const api::batch_v1::CronJobSpec& spec;
  const int64_t now;
  const Memory& memory;
  Decision decision;
  std::vector<model::Object> jobs;
  json status;
  std::vector<model::Object> running;  // of those that it made
  std::set<std::string> deleted;       // by this decision

  void note(const char* type, std::string_view reason, std::string message) {
    decision.notes.push_back({object, type, std::string(reason), std::move(message)});
  }

  std::optional<int64_t> time_of(const char* field) const {
    auto it = status.find(field);
    if (it == status.end()) return std::nullopt;
    auto time = model::parse_time(it->get<std::string>());
    return time.ok() ? std::optional(*time / 1'000'000) : std::nullopt;
  }

  /// The status that the Jobs which are there make true.
  void observe() {
    std::map<std::string, json> listed;
    std::vector<std::string> order;
    for (const json& reference : status.value("active", json::array())) {
      order.push_back(reference.value("uid", ""));
      listed[order.back()] = reference;
    }
    std::map<std::string, const model::Object*> children;
    for (const model::Object& job : jobs) children[std::string(job.uid())] = &job;
    json active = json::array();
    for (const std::string& uid : order) {
      auto child = children.find(uid);
      if (child == children.end()) {
        note("Normal", "MissingJob", fmt::format("Active job went missing: {}", listed[uid].value("name", "")));
      } else if (std::string_view end = end_of(*child->second); !end.empty()) {
        note("Normal", "SawCompletedJob",
             fmt::format("Saw completed job: {}, condition: {}", child->second->name(), end));
      } else {
        active.push_back(listed[uid]);
        running.push_back(*child->second);
      }
    }
    std::optional<int64_t> last = time_of("lastScheduleTime"), success = time_of("lastSuccessfulTime");
    auto saw = [&](int64_t at) { last = std::max(last.value_or(at), at); };
    for (const model::Object& job : jobs) {
      auto at = scheduled_at(object, job);
      if (at) saw(*at);
      if (end_of(job) == "Complete") {
        const int64_t ended = job.as<Job>()->status()->completion_time().value_or(0);
        if (ended > success.value_or(0)) success = ended;
      }
      if (!at || !end_of(job).empty() || listed.contains(std::string(job.uid()))) continue;
      active.push_back({{"apiVersion", "batch/v1"},
                        {"kind", "Job"},
                        {"name", job.name()},
                        {"namespace", job.ns()},
                        {"uid", job.uid()},
                        {"resourceVersion", std::to_string(job.revision())}});
      running.push_back(job);
    }
    // What was made and is gone already.
    for (const Answer& answer : memory.answers) {
      if (answer.command.verb != bus::Verb::Create || !answer.result.ok() || answer.result->object.empty()) continue;
      const model::Object made(*model::Schema::get().by_resource("jobs"), answer.result->object);
      if (auto at = scheduled_at(object, made)) saw(*at);
    }
    if (active.empty()) {
      status.erase("active");
    } else {
      status["active"] = active;
    }
    if (last) status["lastScheduleTime"] = model::format_time(*last);
    if (success) status["lastSuccessfulTime"] = model::format_time(*success);
  }

  void delete_job(const model::Object& job) {
    if (!deleted.insert(std::string(job.name())).second || model::is_deleting(job.meta())) return;
    decision.commands.push_back(
        {remove(job, "Background"),
         projection::Note{object, "Normal", "SuccessfulDelete", fmt::format("Deleted job {}", job.name())},
         projection::Note{object, "Warning", "FailedDelete", fmt::format("Deleted job: {{}}")}});
  }

  /// The oldest of what ended, beyond what is to be kept.
  void clean(std::string_view end, int limit) {
    std::vector<model::Object> ended;
    for (const model::Object& job : jobs) {
      if (end_of(job) == end) ended.push_back(job);
    }
    if (limit < 0 || ended.size() <= static_cast<size_t>(limit)) return;
    std::sort(ended.begin(), ended.end(), [](const model::Object& a, const model::Object& b) {
      return std::pair(started_at(a), a.name()) < std::pair(started_at(b), b.name());
    });
    ended.resize(ended.size() - static_cast<size_t>(limit));
    for (const model::Object& job : ended) delete_job(job);
  }

  void start(int64_t at, const std::string& name, const cron::Zone& zone) {
    static const model::Kind& kind = *model::Schema::get().by_resource("jobs");
    model::Draft job(kind);
    job.set("metadata.name", name);
    job.set("metadata.namespace", object.ns());
    const auto* from = spec.job_template();
    if (from != nullptr && from->metadata() != nullptr) {
      const auto* meta = reinterpret_cast<const flatbuffers::Table*>(from->metadata());
      for (const char* field : {"labels", "annotations"}) job.copy_field("metadata", field, meta);
    }
    job.set(fmt::format("metadata.annotations[{}]", kScheduledAt), zone.format(at));
    job.set("metadata.ownerReferences[+].apiVersion", object.kind().api_version());
    job.set("metadata.ownerReferences[0].kind", object.kind().kind);
    job.set("metadata.ownerReferences[0].name", object.name());
    job.set("metadata.ownerReferences[0].uid", object.uid());
    job.set("metadata.ownerReferences[0].controller", true);
    job.set("metadata.ownerReferences[0].blockOwnerDeletion", true);
    if (from != nullptr) job.copy("spec", from->spec());
    decision.commands.push_back({create(kind, object.ns(), job.bytes()),
                                 projection::Note{object, "Normal", "SuccessfulCreate", "Created job {}"},
                                 projection::Note{object, "Warning", "FailedCreate", "Error creating job: {}"}});
  }

  void schedule() {
    const cron::Zone* zone = &cron::Zone::utc();
    if (spec.time_zone() != nullptr) {
      auto found = cron::Zone::find(str(spec.time_zone()));
      if (!found.ok())
        return note("Warning", "UnknownTimeZone",
                    fmt::format("invalid timeZone: \"{}\": {}", str(spec.time_zone()), found.error().message));
      zone = *found;
    }
    if (spec.suspend().value_or(false)) return;
    auto schedule = cron::Schedule::parse(str(spec.schedule()));
    if (!schedule.ok())
      return note("Warning", "UnparseableSchedule",
                  fmt::format("unparseable schedule: \"{}\" : {}", str(spec.schedule()), schedule.error().message));
    const auto last = time_of("lastScheduleTime");
    int64_t since = std::max(last.value_or(0), model::created_at(object.meta()));
    const auto deadline = spec.starting_deadline_seconds();
    if (deadline) since = std::max(since, now - *deadline);
    const Due due = find_due(*schedule, *zone, since, now);
    if (due.next) decision.wake(*due.next * 1'000'000);
    if (!due.at) return;
    if (due.many_missed)
      note("Warning", "TooManyMissedTimes",
           "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew");
    if (deadline && *due.at + *deadline < now)
      return note("Warning", "MissSchedule",
                  fmt::format("Missed scheduled time to start a job: {}", zone->format(*due.at)));
    const std::string name = fmt::format("{}-{}", object.name(), *due.at / 60);
    if (last == due.at || view.find("jobs", object.ns(), name) != nullptr) return;
    const std::string_view policy = str(spec.concurrency_policy());
    if (policy == "Forbid" && !running.empty())
      return note("Normal", "JobAlreadyActive",
                  "Not starting job because prior execution is running and concurrency policy is Forbid");
    if (policy == "Replace") {
      for (const model::Object& job : running) delete_job(job);
    }
    start(*due.at, name, *zone);
  }
};

}  // namespace

void CronJobController::setup(View& view) {
  view.need("cronjobs");
  view.index_by_controller("jobs");
}

void CronJobController::keys_for(const View&, std::string_view resource, const projection::Change& change,
                                 std::vector<std::string>& keys) const {
  const model::Object& object = change.after ? change.after : change.before;
  if (resource == "cronjobs") {
    keys.push_back(make_key(object));
    return;
  }
  const auto* owner = model::controller_of(object.meta());
  if (owner != nullptr && str(owner->kind()) == "CronJob") keys.push_back(make_key(object.ns(), str(owner->name())));
}

Decision CronJobController::decide(const View& view, const std::string& key, WallMicros now,
                                   const Memory& memory) const {
  const model::Object* found = view.find("cronjobs", key);
  if (found == nullptr || found->as<CronJob>()->spec() == nullptr) return {};
  Step step{.view = view,
            .object = *found,
            .spec = *found->as<CronJob>()->spec(),
            .now = now / 1'000'000,
            .memory = memory,
            .decision = {},
            .jobs = view.controlled("jobs", found->uid()),
            .status = status_of(*found),
            .running = {},
            .deleted = {}};
  step.observe();
  if (!model::is_deleting(found->meta())) step.schedule();
  step.clean("Complete", step.spec.successful_jobs_history_limit().value_or(3));
  step.clean("Failed", step.spec.failed_jobs_history_limit().value_or(1));
  report_status(step.object, step.status, step.decision);
  return std::move(step.decision);
}

}  // namespace gantry::controllers
