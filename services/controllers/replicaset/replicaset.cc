#include "services/controllers/replicaset/replicaset.h"

#include "libs/model/draft.h"
#include "libs/model/schema.h"
#include "libs/model/selector.h"
#include "libs/model/workload.h"
#include "schemas/api/apps_v1_generated.h"
#include "schemas/api/core_more_v1_generated.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/framework/claim.h"
#include "services/controllers/framework/commands.h"
#include "services/controllers/framework/pods.h"
#include "services/controllers/framework/victims.h"

namespace gantry::controllers {

using api::apps_v1::ReplicaSet;
using api::core_v1::Pod;

using api::core_v1::PodTemplateSpec;
using api::core_v1::ReplicationController;

namespace {

/// What the two kinds have in common. Empty where there is no spec.
struct Set {
  const PodTemplateSpec* pod_template = nullptr;
  int32_t replicas = 1, min_ready_seconds = 0;
  std::optional<model::LabelSelector> selector;  // never one that selects everything
  struct Status {
    int32_t replicas = 0, labeled = 0, ready = 0, available = 0;
    int64_t generation = 0;
    bool failing = false;  // the condition ReplicaFailure is there
  };
  std::optional<Status> status;
};

template <typename T>
void read_common(const T& object, Set& set) {
  set.pod_template = object.spec()->template_();
  set.replicas = object.spec()->replicas().value_or(1);
  set.min_ready_seconds = object.spec()->min_ready_seconds().value_or(0);
  const auto* status = object.status();
  if (status == nullptr) return;
  set.status = Set::Status{status->replicas().value_or(0), status->fully_labeled_replicas().value_or(0),
                           status->ready_replicas().value_or(0), status->available_replicas().value_or(0),
                           status->observed_generation().value_or(0)};
  if (status->conditions() == nullptr) return;
  for (const auto* c : *status->conditions())
    set.status->failing = set.status->failing || model::str(c->type()) == "ReplicaFailure";
}

Set read(const model::Object& object) {
  Set set;
  if (object.kind().kind == "ReplicationController") {
    const auto& rc = *object.as<ReplicationController>();
    if (rc.spec() == nullptr) return set;
    read_common(rc, set);
    const auto* wanted = rc.spec()->selector();
    if (wanted != nullptr && wanted->size() > 0) set.selector = model::LabelSelector::from_map(wanted);
    return set;
  }
  const auto& rs = *object.as<ReplicaSet>();
  if (rs.spec() == nullptr) return set;
  read_common(rs, set);
  auto selector = model::LabelSelector::from(rs.spec()->selector());
  if (selector.ok() && !selector->everything()) set.selector = std::move(*selector);
  return set;
}

}  // namespace

void ReplicaSetController::setup(View& view) {
  view.index_by_controller(resource_);
  view.index_by_controller("pods");
}

void ReplicaSetController::keys_for(const View& view, std::string_view resource, const projection::Change& change,
                                    std::vector<std::string>& keys) const {
  if (resource == resource_) {
    keys.push_back(make_key(change.after ? change.after : change.before));
    return;
  }
  for (const model::Object* pod : {&change.before, &change.after}) {
    if (!*pod) continue;
    const auto* owner = model::controller_of(pod->meta());
    if (owner != nullptr) {
      if (model::str(owner->kind()) == kind_) keys.push_back(make_key(pod->ns(), model::str(owner->name())));
    } else if (pod == &change.after) {
      view.cache(resource_).for_each_in(pod->ns(), [&](const model::Object& object) {
        const Set set = read(object);
        if (set.selector && set.selector->matches(pod->meta()->labels())) keys.push_back(make_key(object));
      });
    }
  }
  if (keys.size() == 2 && keys[0] == keys[1]) keys.pop_back();
}

namespace {

/// Pods on each node of all ReplicaSets with the same controller (a Deployment's), this one included.
std::unordered_map<std::string, int> pods_per_node(const View& view, const model::Object& rs) {
  std::unordered_map<std::string, int> count;
  auto add = [&](std::string_view uid) {
    view.each_by("pods", View::kByController, uid, [&](const model::Object& o) {
      const Pod& pod = *o.as<Pod>();
      if (model::pod_active(pod) && pod.spec() != nullptr) ++count[std::string(model::str(pod.spec()->node_name()))];
    });
  };
  const auto* owner = model::controller_of(rs.meta());
  if (owner == nullptr) {
    add(rs.uid());
  } else {
    for (const model::Object& sibling : view.controlled(rs.kind().resource, model::str(owner->uid())))
      add(sibling.uid());
  }
  return count;
}

struct Counts {
  int32_t replicas = 0, labeled = 0, ready = 0, available = 0;
  std::optional<int64_t> next_available;  // unix seconds
};

Counts count(const std::vector<model::Object>& active, const Set& set, int64_t now) {
  Counts counts;
  int32_t min_ready = set.min_ready_seconds;
  const auto* meta = set.pod_template == nullptr ? nullptr : set.pod_template->metadata();
  const auto* wanted = meta == nullptr ? nullptr : meta->labels();
  for (const model::Object& o : active) {
    const Pod& pod = *o.as<Pod>();
    ++counts.replicas;
    bool labeled = true;
    if (wanted != nullptr) {
      for (const auto* entry : *wanted) {
        const auto* has = model::lookup(pod.metadata()->labels(), model::str(entry->key()));
        labeled = labeled && has != nullptr && model::str(has) == model::str(entry->value());
      }
    }
    counts.labeled += labeled;
    if (!model::pod_ready(pod)) continue;
    ++counts.ready;
    if (model::pod_available(pod, min_ready, now)) {
      ++counts.available;
    } else {
      int64_t at = model::condition(pod, "Ready")->last_transition_time().value_or(now) + min_ready;
      counts.next_available = std::min(counts.next_available.value_or(at), at);
    }
  }
  return counts;
}

/// "" or why pods could not be made or deleted, for the condition ReplicaFailure.
std::string_view failure_reason(const Memory& memory) {
  for (const Answer& answer : memory.answers) {
    if (answer.result.ok() || answer.command.resource != "pods") continue;
    if (answer.command.verb == bus::Verb::Create) return "FailedCreate";
    if (answer.command.verb == bus::Verb::Delete && answer.result.code() != Code::kNotFound) return "FailedDelete";
  }
  return "";
}

void report(const model::Object& object, const Set& rs, const Counts& counts, int64_t now, bool settled,
            const Memory& memory, Decision& decision) {
  std::string_view failure = failure_reason(memory);
  const bool failed = rs.status && rs.status->failing;
  bool set = !failure.empty() && !failed, clear = failed && settled && failure.empty();
  // Observed once nothing is left to take away: until then it counts pods that go, which nobody may rely on.
  int64_t generation =
      counts.replicas > rs.replicas ? (rs.status ? rs.status->generation : 0) : object.meta()->generation().value_or(0);
  if (!set && !clear && rs.status && rs.status->replicas == counts.replicas && rs.status->labeled == counts.labeled &&
      rs.status->ready == counts.ready && rs.status->available == counts.available &&
      rs.status->generation == generation) {
    return;
  }
  model::Draft draft(object);
  draft.set("status.replicas", counts.replicas);
  auto number = [&](const char* path, int32_t value) {
    if (value == 0) {
      draft.clear(path);  // as Kubernetes omits it
    } else {
      draft.set(path, value);
    }
  };
  number("status.fullyLabeledReplicas", counts.labeled);
  number("status.readyReplicas", counts.ready);
  number("status.availableReplicas", counts.available);
  draft.set("status.observedGeneration", generation);
  if (clear) draft.clear("status.conditions");
  if (set) {
    draft.set("status.conditions[+].type", "ReplicaFailure");
    draft.set("status.conditions[0].status", "True");
    draft.set("status.conditions[0].reason", failure);
    draft.set("status.conditions[0].message", memory.error);
    draft.set("status.conditions[0].lastTransitionTime", now);
  }
  decision.add(update_status(object, draft.bytes()));
}

void make(const model::Object& rs, const PodTemplateSpec* pod_template, int32_t missing, const Memory& memory,
          Decision& decision) {
  static const model::Kind& kind = *model::Schema::get().by_resource("pods");
  // After a failure one create goes ahead to see whether the others have a chance.
  int32_t n = memory.failures > 0 ? 1 : std::min(missing, ReplicaSetController::kBurst);
  model::Draft draft = pod_from_template(rs, pod_template);
  draft.set("metadata.generateName", name_prefix(rs.name()));
  model::Bytes pod = draft.bytes();
  for (int32_t i = 0; i < n; ++i) {
    decision.commands.push_back({create(kind, rs.ns(), pod),
                                 projection::Note{rs, "Normal", "SuccessfulCreate", "Created pod: {}"},
                                 projection::Note{rs, "Warning", "FailedCreate", "Error creating: {}"}});
  }
}

void reduce(const View& view, const model::Object& rs, std::vector<model::Object> active, int32_t surplus,
            Decision& decision) {
  auto per_node = pods_per_node(view, rs);
  auto victims = pick_victims(std::move(active), static_cast<size_t>(std::min(surplus, ReplicaSetController::kBurst)),
                              [&](std::string_view node) {
                                auto it = per_node.find(std::string(node));
                                return it == per_node.end() ? 0 : it->second;
                              });
  for (const model::Object& pod : victims) {
    decision.commands.push_back(
        {remove(pod), projection::Note{rs, "Normal", "SuccessfulDelete", fmt::format("Deleted pod: {}", pod.name())},
         projection::Note{rs, "Warning", "FailedDelete", "Error deleting: {}"}});
  }
}

}  // namespace

Decision ReplicaSetController::decide(const View& view, const std::string& key, WallMicros now_micros,
                                      const Memory& memory) const {
  Decision decision;
  const model::Object* found = view.find(resource_, key);
  if (found == nullptr) return decision;
  model::Object object = *found;
  const Set rs = read(object);
  int64_t now = now_micros / 1'000'000;
  if (!rs.selector) return decision;

  std::vector<model::Object> pods = claim(
      view, "pods", object, *rs.selector, [](const model::Object& o) { return model::pod_active(*o.as<Pod>()); },
      decision);
  if (!decision.commands.empty()) return decision;  // counted once they are ours
  std::erase_if(pods, [](const model::Object& o) { return !model::pod_active(*o.as<Pod>()); });

  Counts counts = count(pods, rs, now);
  if (counts.next_available) decision.wake((*counts.next_available) * 1'000'000);
  int32_t difference = rs.replicas - counts.replicas;
  if (!model::is_deleting(object.meta())) {
    if (difference > 0) make(object, rs.pod_template, difference, memory, decision);
    if (difference < 0) reduce(view, object, std::move(pods), -difference, decision);
  }
  report(object, rs, counts, now, difference == 0, memory, decision);
  return decision;
}

}  // namespace gantry::controllers
