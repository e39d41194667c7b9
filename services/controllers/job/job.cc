#include "services/controllers/job/job.h"

#include "libs/model/selector.h"
#include "libs/model/workload.h"
#include "schemas/api/batch_v1_generated.h"
#include "services/controllers/framework/claim.h"
#include "services/controllers/framework/commands.h"
#include "services/controllers/framework/report.h"
#include "services/controllers/job/members.h"
#include "services/controllers/job/sync.h"

namespace gantry::controllers {

using api::batch_v1::Job;
using model::str;

namespace {

constexpr const char* kTracked = "job-tracked";

/// The key of the Job that a pod belongs to; "" when it is no Job's.
std::string job_of(const model::Object& pod) {
  const auto* owner = model::controller_of(pod.meta());
  return owner != nullptr && str(owner->kind()) == "Job" ? make_key(pod.ns(), str(owner->name())) : std::string();
}

bool managed_elsewhere(const api::batch_v1::JobSpec& spec) {
  return spec.managed_by() != nullptr && str(spec.managed_by()) != "kubernetes.io/job-controller";
}

bool selects(const model::Object& job, const model::Object& pod) {
  const auto* spec = job.as<Job>()->spec();
  if (spec == nullptr || spec->selector() == nullptr) return false;
  auto selector = model::LabelSelector::from(spec->selector());
  return selector.ok() && !selector->everything() && selector->matches(pod.meta()->labels());
}

bool finished(const model::Object& job) {
  const auto* status = job.as<Job>()->status();
  if (status == nullptr || status->conditions() == nullptr) return false;
  return std::any_of(status->conditions()->begin(), status->conditions()->end(), [](const auto* c) {
    return (str(c->type()) == "Complete" || str(c->type()) == "Failed") && str(c->status()) == "True";
  });
}

/// Pods that no Job waits for must not be held: their Job is gone, or nobody's selector finds them.
void release(const View& view, const std::string& key, const model::Object* job, Decision& decision) {
  view.each_by("pods", kTracked, key, [&](const model::Object& pod) {
    const auto* owner = model::controller_of(pod.meta());
    if (job != nullptr && owner != nullptr && str(owner->uid()) == job->uid()) return;
    bus::Command command = drop_finalizer(pod, kJobTracking);
    if (owner != nullptr) command.absent_owner_uid = str(owner->uid());
    decision.add(std::move(command));
  });
}

/// Pods of a namespace without a controller that still carry the finalizer.
void release_orphans(const View& view, const std::string& key, Decision& decision) {
  const std::string ns = split_key(key).ns;
  view.each_by("pods", kTracked, key, [&](const model::Object& pod) {
    bool wanted = false;
    view.cache("jobs").for_each_in(ns, [&](const model::Object& job) {
      wanted = wanted || (!finished(job) && !model::is_deleting(job.meta()) && selects(job, pod));
    });
    if (!wanted) decision.add(drop_finalizer(pod, kJobTracking));
  });
}

}  // namespace

void JobController::setup(View& view) {
  view.need("jobs");
  view.index_by_controller("pods");
  view.index("pods", kTracked, [](const model::Object& o, std::vector<std::string>& values) {
    if (!model::has_finalizer(o.meta(), kJobTracking)) return;
    if (model::controller_of(o.meta()) == nullptr) {
      values.push_back(fmt::format("{}/", o.ns()));
    } else if (std::string key = job_of(o); !key.empty()) {
      values.push_back(std::move(key));
    }
  });
}

void JobController::keys_for(const View& view, std::string_view resource, const projection::Change& change,
                             std::vector<std::string>& keys) const {
  if (resource == "jobs") {
    keys.push_back(make_key(change.after ? change.after : change.before));
    if (!change.after || finished(change.after))
      keys.push_back(fmt::format("{}/", keys[0].substr(0, keys[0].find('/'))));
    return;
  }
  for (const model::Object* pod : {&change.before, &change.after}) {
    if (!*pod) continue;
    if (model::controller_of((*pod).meta()) != nullptr) {
      std::string key = job_of(*pod);
      if (!key.empty() && (keys.empty() || keys[0] != key)) keys.push_back(std::move(key));
    } else if (pod == &change.after) {
      view.cache("jobs").for_each_in(pod->ns(), [&](const model::Object& job) {
        if (selects(job, *pod)) keys.push_back(make_key(job));
      });
      if (model::has_finalizer(pod->meta(), kJobTracking)) keys.push_back(fmt::format("{}/", pod->ns()));
    }
  }
}

Decision JobController::decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const {
  Decision decision;
  if (key.ends_with('/')) {
    release_orphans(view, key, decision);
    return decision;
  }
  const model::Object* found = view.find("jobs", key);
  release(view, key, found, decision);
  if (found == nullptr || !decision.commands.empty()) return decision;
  const model::Object job = *found;
  const auto* spec = job.as<Job>()->spec();
  if (spec == nullptr || managed_elsewhere(*spec)) return decision;
  auto selector = model::LabelSelector::from(spec->selector());
  if (!selector.ok() || selector->everything()) return decision;
  if (finished(job)) {
    for (const model::Object& pod : view.controlled("pods", job.uid())) {
      if (model::has_finalizer(pod.meta(), kJobTracking)) decision.add(drop_finalizer(pod, kJobTracking));
    }
    return decision;
  }
  std::vector<model::Object> pods = claim(
      view, "pods", job, *selector, [](const model::Object&) { return true; }, decision, kJobTracking);
  if (!decision.commands.empty()) return decision;  // counted once they are ours
  JobSync(job, describe(pods, *spec), now / 1'000'000, memory, decision).run();
  return decision;
}

}  // namespace gantry::controllers
