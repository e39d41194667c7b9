#include "services/controllers/deployment/deployment.h"

#include "libs/model/schema.h"
#include "libs/model/selector.h"
#include "libs/model/workload.h"
#include "services/controllers/deployment/members.h"
#include "services/controllers/deployment/status.h"
#include "services/controllers/deployment/template.h"
#include "services/controllers/framework/claim.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {

using api::apps_v1::Deployment;
using api::apps_v1::ReplicaSet;

void DeploymentController::setup(View& view) {
  view.need("deployments");
  view.index_by_controller("replicasets");
  view.index_by_controller("pods");
}

void DeploymentController::keys_for(const View& view, std::string_view resource, const projection::Change& change,
                                    std::vector<std::string>& keys) const {
  if (resource == "deployments") {
    keys.push_back(make_key(change.after ? change.after : change.before));
    return;
  }
  auto of_set = [&](const model::Object& set) {
    const auto* owner = model::controller_of(set.meta());
    if (owner != nullptr && model::str(owner->kind()) == "Deployment") {
      keys.push_back(make_key(set.ns(), model::str(owner->name())));
    }
    return owner != nullptr;
  };
  if (resource == "pods") {
    // Only Recreate waits for pods: for their end.
    bool ended = change.before && (!change.after || model::pod_terminal(*change.after.as<api::core_v1::Pod>()));
    const auto* owner = ended ? model::controller_of(change.before.meta()) : nullptr;
    if (owner == nullptr || model::str(owner->kind()) != "ReplicaSet") return;
    const model::Object* set = view.find("replicasets", change.before.ns(), model::str(owner->name()));
    if (set != nullptr) of_set(*set);
    return;
  }
  if (change.before) of_set(change.before);
  if (change.after && !of_set(change.after)) {
    view.cache("deployments").for_each_in(change.after.ns(), [&](const model::Object& d) {
      const auto* spec = d.as<Deployment>()->spec();
      if (spec == nullptr) return;
      auto selector = model::LabelSelector::from(spec->selector());
      if (selector.ok() && selector->matches(change.after.meta()->labels())) keys.push_back(make_key(d));
    });
  }
  if (keys.size() == 2 && keys[0] == keys[1]) keys.pop_back();
}

namespace {

/// One decision in the making.
struct Step {
  const View& view;
  const model::Object object;
  const api::apps_v1::DeploymentSpec& spec;
  const Memory& memory;
  int64_t now;
  Rollout rollout;
  std::vector<model::Object> sets;
  std::vector<Member> members, olds;
  std::optional<size_t> newest;
  Progress progress;
  Decision decision;

  const Member* news() const { return newest ? &members[*newest] : nullptr; }

  int64_t next_revision() const {
    int64_t max = 0;
    for (const Member& old : olds) max = std::max(max, revision_of(sets[old.index]));
    return max + 1;
  }

  bool scaled() const {
    return std::any_of(members.begin(), members.end(), [&](const Member& m) {
      return m.replicas > 0 && m.desired_annotation >= 0 && m.desired_annotation != rollout.replicas;
    });
  }

  /// Recreate: pods of old ReplicaSets that may still run, those being deleted included.
  bool old_pods_run() const {
    for (const Member& old : olds) {
      if (old.actual > 0) return true;
      bool running = false;
      view.each_by("pods", View::kByController, sets[old.index].uid(), [&](const model::Object& pod) {
        running = running || !model::pod_terminal(*pod.as<api::core_v1::Pod>());
      });
      if (running) return true;
    }
    return false;
  }

  void make_new() {
    std::string hash = template_hash(spec.template_(), progress.collisions);
    std::string name = fmt::format("{}-{}", object.name(), hash);
    if (view.find("replicasets", object.ns(), name) != nullptr) {
      ++progress.collisions;  // another template's: the next hash differs
      return;
    }
    progress.new_name = name;
    progress.created = progress.create_error.empty();
    int32_t size = new_size(rollout, {}, olds);
    decision.commands.push_back(
        {create(*model::Schema::get().by_resource("replicasets"), object.ns(),
                make_set(object, rollout, name, hash, size, next_revision())),
         size > 0 ? std::optional(projection::Note{object, "Normal", "ScalingReplicaSet",
                                                   fmt::format("Scaled up replica set {} from 0 to {}", name, size)})
                  : std::nullopt,
         projection::Note{object, "Warning", "ReplicaSetCreateError",
                          fmt::format("Failed to create new replica set \"{}\": {{}}", name)}});
  }

  /// The next change of sizes, if any is due. True: something moves.
  void move(SetChanges& changes) {
    bool paused = spec.paused().value_or(false);
    if (paused || scaled()) {
      const auto scales = rescale(rollout, news(), olds);
      for (const Scale& scale : scales) changes.scale(scale);
      // Recreate shares out nothing among several ReplicaSets: it goes on to end the old ones.
      progress.scaling_only = paused || !scales.empty();
      if (progress.scaling_only) return;
    }
    if (!rollout.rolling) {
      bool shrunk = false;
      for (const Member& old : olds) {
        if (old.replicas > 0) changes.scale({old.index, 0}), shrunk = true;
      }
      if (shrunk || old_pods_run()) return;
    }
    if (news() == nullptr) return make_new();
    changes.sync_new(*newest, next_revision());
    int32_t size = new_size(rollout, *news(), olds);
    if (size != news()->replicas) return changes.scale({*newest, size});
    if (rollout.rolling) {
      for (const Scale& scale : shrink_old(rollout, *news(), olds)) changes.scale(scale);
    }
  }

  /// True if the annotation must change: the status then waits for the next decision, so that one command changes the
  /// object.
  bool sync_revision() {
    if (!newest || spec.paused().value_or(false)) return false;
    int64_t revision = std::max(revision_of(sets[*newest]), next_revision());
    if (revision_of(object) == revision) return false;
    decision.add(patch(object, fmt::format(R"({{"metadata":{{"annotations":{{"{}":"{}"}}}}}})", kRevision, revision)));
    return true;
  }

  void read_failures() {
    for (const Answer& answer : memory.answers) {
      if (!answer.result.ok() && answer.command.verb == bus::Verb::Create &&
          answer.result.code() != Code::kAlreadyExists) {
        progress.create_error = answer.result.error().message;
      }
    }
    for (const model::Object& set : sets) {
      const auto* status = set.as<ReplicaSet>()->status();
      if (status == nullptr || status->conditions() == nullptr) continue;
      for (const auto* c : *status->conditions()) {
        if (model::str(c->type()) != "ReplicaFailure" || model::str(c->status()) != "True") continue;
        progress.failure_reason = model::str(c->reason());
        progress.failure_message = model::str(c->message());
      }
    }
  }

  void run(bool deleting) {
    members = to_members(sets);
    newest = find_new(object, sets);
    for (const Member& m : members) {
      if (!newest || m.index != *newest) olds.push_back(m);
    }
    const auto* status = object.as<Deployment>()->status();
    progress.collisions = status == nullptr ? 0 : status->collision_count().value_or(0);
    if (newest) progress.new_name = members[*newest].name, progress.found = true;
    read_failures();

    SetChanges changes(object, rollout, sets);
    if (deleting) {
      progress.scaling_only = true;
    } else {
      move(changes);
      changes.plan(decision);
    }
    StatusResult result = make_status(object, rollout, members, news(), progress, now);
    if (result.check_at) decision.wake(*result.check_at * 1'000'000);
    bool still = decision.commands.empty();
    if (!deleting && sync_revision()) return;
    if (result.changed) decision.add(update_status(object, std::move(*result.changed)));
    if (!deleting && still && (result.complete || spec.paused().value_or(false))) {
      std::vector<model::Object> old_sets;
      for (const Member& old : olds) old_sets.push_back(sets[old.index]);
      clean_history(object, std::move(old_sets), decision);
    }
  }
};

}  // namespace

Decision DeploymentController::decide(const View& view, const std::string& key, WallMicros now,
                                      const Memory& memory) const {
  const model::Object* object = view.find("deployments", key);
  if (object == nullptr || object->as<Deployment>()->spec() == nullptr) return {};
  const auto& spec = *object->as<Deployment>()->spec();
  auto selector = model::LabelSelector::from(spec.selector());
  if (!selector.ok() || selector->everything()) return {};
  Step step{.view = view,
            .object = *object,
            .spec = spec,
            .memory = memory,
            .now = now / 1'000'000,
            .rollout = resolve(spec),
            .sets = {},
            .members = {},
            .olds = {},
            .newest = {},
            .progress = {},
            .decision = {}};
  step.sets = claim(
      view, "replicasets", step.object, *selector, [](const model::Object&) { return true; }, step.decision);
  std::erase_if(step.sets, [](const model::Object& set) { return set.as<ReplicaSet>()->spec() == nullptr; });
  if (step.decision.commands.empty()) step.run(model::is_deleting(step.object.meta()));
  return std::move(step.decision);
}

}  // namespace gantry::controllers
