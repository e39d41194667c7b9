#include "services/controllers/deployment/status.h"

#include "libs/model/draft.h"
#include "libs/model/workload.h"

namespace gantry::controllers {
namespace {

using api::apps_v1::Deployment;
using api::apps_v1::DeploymentStatus;

struct Condition {
  std::string type, status, reason, message;
  int64_t updated = 0, changed = 0;
  bool operator==(const Condition&) const = default;
};

struct Conditions {
  std::vector<Condition> all;

  Condition* find(std::string_view type) {
    for (Condition& c : all) {
      if (c.type == type) return &c;
    }
    return nullptr;
  }
  void remove(std::string_view type) {
    std::erase_if(all, [&](const Condition& c) { return c.type == type; });
  }
  /// `refresh`: counts as an update even if status and reason stay: the deadline starts again.
  void set(std::string type, std::string status, std::string reason, std::string message, int64_t now,
           bool refresh = false) {
    Condition next{std::move(type), std::move(status), std::move(reason), std::move(message), now, now};
    if (Condition* old = find(next.type)) {
      if (old->status == next.status && old->reason == next.reason && !refresh) return;
      if (old->status == next.status) next.changed = old->changed;
    }
    remove(next.type);
    all.push_back(std::move(next));
  }
};

Conditions read(const DeploymentStatus* status) {
  Conditions conditions;
  if (status == nullptr || status->conditions() == nullptr) return conditions;
  for (const auto* c : *status->conditions()) {
    conditions.all.push_back({std::string(model::str(c->type())), std::string(model::str(c->status())),
                              std::string(model::str(c->reason())), std::string(model::str(c->message())),
                              c->last_update_time().value_or(0), c->last_transition_time().value_or(0)});
  }
  return conditions;
}

struct Numbers {
  int64_t observed = 0;
  int32_t replicas = 0, updated = 0, ready = 0, available = 0, unavailable = 0, collisions = 0;
  bool operator==(const Numbers&) const = default;
};

Numbers read_numbers(const DeploymentStatus* s) {
  if (s == nullptr) return {};
  return {s->observed_generation().value_or(0), s->replicas().value_or(0),
          s->updated_replicas().value_or(0),    s->ready_replicas().value_or(0),
          s->available_replicas().value_or(0),  s->unavailable_replicas().value_or(0),
          s->collision_count().value_or(0)};
}

model::Bytes write(const model::Object& deployment, const Numbers& n, const Conditions& conditions) {
  model::Draft draft(deployment);
  auto number = [&](const char* path, int64_t value) {
    if (value == 0) {
      draft.clear(path);
    } else {
      draft.set(path, value);
    }
  };
  number("status.observedGeneration", n.observed);
  number("status.replicas", n.replicas);
  number("status.updatedReplicas", n.updated);
  number("status.readyReplicas", n.ready);
  number("status.availableReplicas", n.available);
  number("status.unavailableReplicas", n.unavailable);
  number("status.collisionCount", n.collisions);
  draft.clear("status.conditions");
  for (size_t i = 0; i < conditions.all.size(); ++i) {
    const Condition& c = conditions.all[i];
    draft.set("status.conditions[+].type", c.type);
    std::string at = fmt::format("status.conditions[{}].", i);
    draft.set(at + "status", c.status);
    draft.set(at + "reason", c.reason);
    draft.set(at + "message", c.message);
    draft.set(at + "lastUpdateTime", c.updated);
    draft.set(at + "lastTransitionTime", c.changed);
  }
  return draft.bytes();
}

void set_progressing(const api::apps_v1::DeploymentSpec& spec, const Numbers& old, const Numbers& next, bool complete,
                     const std::string& what, const Progress& progress, int64_t now, Conditions& conditions,
                     StatusResult& result) {
  int64_t deadline = spec.progress_deadline_seconds().value_or(600);
  if (deadline >= INT32_MAX) {
    conditions.remove("Progressing");
    return;
  }
  Condition* current = conditions.find("Progressing");
  bool paused = spec.paused().value_or(false);
  if (paused) {
    if (current == nullptr || current->reason != "DeploymentPaused") {
      conditions.set("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", now);
    }
    return;
  }
  if (current != nullptr && current->reason == "DeploymentPaused") {
    conditions.set("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", now);
    current = conditions.find("Progressing");
  }
  if (!progress.create_error.empty()) {
    conditions.set("Progressing", "False", "ReplicaSetCreateError", progress.create_error, now);
    return;
  }
  if (progress.created) {
    conditions.set("Progressing", "True", "NewReplicaSetCreated",
                   fmt::format("Created new replica set \"{}\"", progress.new_name), now);
  } else if (progress.found && current == nullptr) {
    conditions.set("Progressing", "True", "FoundNewReplicaSet",
                   fmt::format("Found new replica set \"{}\"", progress.new_name), now);
  }
  if (progress.scaling_only) return;
  current = conditions.find("Progressing");
  // Done before and still whole: what comes and goes after that is not a rollout.
  bool was_complete =
      next.replicas == next.updated && current != nullptr && current->reason == "NewReplicaSetAvailable";
  if (was_complete) return;
  bool moved = next.updated > old.updated || next.replicas - next.updated < old.replicas - old.updated ||
               next.ready > old.ready || next.available > old.available;
  if (complete) {
    conditions.set("Progressing", "True", "NewReplicaSetAvailable", what + " has successfully progressed.", now);
  } else if (moved) {
    conditions.set("Progressing", "True", "ReplicaSetUpdated", what + " is progressing.", now, true);
  } else if (current != nullptr && current->reason != "NewReplicaSetAvailable") {
    int64_t ends = current->updated + deadline;
    if (current->reason == "ProgressDeadlineExceeded" || ends < now) {
      conditions.set("Progressing", "False", "ProgressDeadlineExceeded", what + " has timed out progressing.", now);
    }
  }
  current = conditions.find("Progressing");
  if (current != nullptr && current->reason != "NewReplicaSetAvailable" &&
      current->reason != "ProgressDeadlineExceeded") {
    result.check_at = current->updated + deadline + 1;
  }
}

}  // namespace

StatusResult make_status(const model::Object& object, const Rollout& rollout, const std::vector<Member>& members,
                         const Member* news, const Progress& progress, int64_t now) {
  const Deployment& deployment = *object.as<Deployment>();
  Numbers old = read_numbers(deployment.status()), next;
  int32_t specified = 0;
  for (const Member& member : members) {
    specified += member.replicas;
    next.replicas += member.actual;
    next.ready += member.ready;
    next.available += member.available;
  }
  next.observed = object.meta()->generation().value_or(0);
  next.updated = news == nullptr ? 0 : news->actual;
  next.unavailable = std::max(0, specified - next.available);
  next.collisions = progress.collisions;

  StatusResult result;
  result.complete =
      next.updated == rollout.replicas && next.replicas == rollout.replicas && next.available == rollout.replicas;
  Conditions before = read(deployment.status()), conditions = before;
  if (next.available >= rollout.replicas - rollout.max_unavailable) {
    conditions.set("Available", "True", "MinimumReplicasAvailable", "Deployment has minimum availability.", now);
  } else {
    conditions.set("Available", "False", "MinimumReplicasUnavailable", "Deployment does not have minimum availability.",
                   now);
  }
  std::string what = progress.new_name.empty() ? fmt::format("Deployment \"{}\"", object.name())
                                               : fmt::format("ReplicaSet \"{}\"", progress.new_name);
  set_progressing(*deployment.spec(), old, next, result.complete, what, progress, now, conditions, result);
  if (!progress.failure_reason.empty()) {
    conditions.set("ReplicaFailure", "True", progress.failure_reason, progress.failure_message, now);
  } else if (!progress.scaling_only) {
    conditions.remove("ReplicaFailure");
  }
  if (deployment.status() == nullptr || !(next == old) || conditions.all != before.all) {
    result.changed = write(object, next, conditions);
  }
  return result;
}

}  // namespace gantry::controllers
