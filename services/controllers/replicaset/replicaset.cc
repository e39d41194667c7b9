#include "services/controllers/replicaset/replicaset.h"

#include "libs/model/draft.h"
#include "libs/model/schema.h"
#include "libs/model/selector.h"
#include "libs/model/workload.h"
#include "schemas/api/apps_v1_generated.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/framework/claim.h"
#include "services/controllers/framework/commands.h"
#include "services/controllers/framework/pods.h"
#include "services/controllers/framework/victims.h"

namespace gantry::controllers {

using api::apps_v1::ReplicaSet;
using api::core_v1::Pod;

void ReplicaSetController::setup(View& view) {
  view.index_by_controller("replicasets");
  view.index_by_controller("pods");
}

void ReplicaSetController::keys_for(const View& view, std::string_view resource, const projection::Change& change,
                                    std::vector<std::string>& keys) const {
  if (resource == "replicasets") {
    keys.push_back(make_key(change.after ? change.after : change.before));
    return;
  }
  for (const model::Object* pod : {&change.before, &change.after}) {
    if (!*pod) continue;
    const auto* owner = model::controller_of(pod->meta());
    if (owner != nullptr) {
      if (model::str(owner->kind()) == "ReplicaSet") keys.push_back(make_key(pod->ns(), model::str(owner->name())));
    } else if (pod == &change.after) {
      view.cache("replicasets").for_each_in(pod->ns(), [&](const model::Object& rs) {
        const auto* spec = rs.as<ReplicaSet>()->spec();
        if (spec == nullptr) return;
        auto selector = model::LabelSelector::from(spec->selector());
        if (selector.ok() && selector->matches(pod->meta()->labels())) keys.push_back(make_key(rs));
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
    for (const model::Object& sibling : view.controlled("replicasets", model::str(owner->uid()))) add(sibling.uid());
  }
  return count;
}

struct Counts {
  int32_t replicas = 0, labeled = 0, ready = 0, available = 0;
  std::optional<int64_t> next_available;  // unix seconds
};

Counts count(const std::vector<model::Object>& active, const ReplicaSet& rs, int64_t now) {
  Counts counts;
  int32_t min_ready = rs.spec()->min_ready_seconds().value_or(0);
  const auto* pod_template = rs.spec()->template_();
  const auto* wanted =
      pod_template == nullptr || pod_template->metadata() == nullptr ? nullptr : pod_template->metadata()->labels();
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

void report(const model::Object& object, const Counts& counts, int64_t now, bool settled, const Memory& memory,
            Decision& decision) {
  const ReplicaSet& rs = *object.as<ReplicaSet>();
  const auto* old = rs.status();
  std::string_view failure = failure_reason(memory);
  const api::apps_v1::ReplicaSetCondition* failed = nullptr;
  if (old != nullptr && old->conditions() != nullptr) {
    for (const auto* c : *old->conditions()) {
      if (model::str(c->type()) == "ReplicaFailure") failed = c;
    }
  }
  bool set = !failure.empty() && failed == nullptr, clear = failed != nullptr && settled && failure.empty();
  int64_t generation = object.meta()->generation().value_or(0);
  if (!set && !clear && old != nullptr && old->replicas().value_or(0) == counts.replicas &&
      old->fully_labeled_replicas().value_or(0) == counts.labeled &&
      old->ready_replicas().value_or(0) == counts.ready && old->available_replicas().value_or(0) == counts.available &&
      old->observed_generation().value_or(0) == generation) {
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

void make(const model::Object& rs, int32_t missing, const Memory& memory, Decision& decision) {
  static const model::Kind& kind = *model::Schema::get().by_resource("pods");
  // After a failure one create goes ahead to see whether the others have a chance.
  int32_t n = memory.failures > 0 ? 1 : std::min(missing, ReplicaSetController::kBurst);
  model::Draft draft = pod_from_template(rs, rs.as<ReplicaSet>()->spec()->template_());
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
  const model::Object* found = view.find("replicasets", key);
  if (found == nullptr || found->as<ReplicaSet>()->spec() == nullptr) return decision;
  model::Object object = *found;
  const ReplicaSet& rs = *object.as<ReplicaSet>();
  int64_t now = now_micros / 1'000'000;
  auto selector = model::LabelSelector::from(rs.spec()->selector());
  if (!selector.ok() || selector->everything()) return decision;

  std::vector<model::Object> pods = claim(
      view, "pods", object, *selector, [](const model::Object& o) { return model::pod_active(*o.as<Pod>()); },
      decision);
  if (!decision.commands.empty()) return decision;  // counted once they are ours
  std::erase_if(pods, [](const model::Object& o) { return !model::pod_active(*o.as<Pod>()); });

  Counts counts = count(pods, rs, now);
  if (counts.next_available) decision.wake((*counts.next_available) * 1'000'000);
  int32_t difference = rs.spec()->replicas().value_or(1) - counts.replicas;
  if (!model::is_deleting(object.meta())) {
    if (difference > 0) make(object, difference, memory, decision);
    if (difference < 0) reduce(view, object, std::move(pods), -difference, decision);
  }
  report(object, counts, now, difference == 0, memory, decision);
  return decision;
}

}  // namespace gantry::controllers
