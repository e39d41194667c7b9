#include "services/controllers/statefulset/sync.h"

#include "libs/model/schema.h"
#include "libs/model/workload.h"
#include "services/controllers/framework/commands.h"
#include "services/controllers/framework/percent.h"
#include "services/controllers/framework/report.h"

namespace gantry::controllers {

using api::apps_v1::StatefulSet;
using model::str;
using nlohmann::json;

StatefulSetSync::StatefulSetSync(const View& view, model::Object set, History history, std::vector<Replica> replicas,
                                 Decision& decision)
    : view_(view),
      set_(std::move(set)),
      spec_(*set_.as<StatefulSet>()->spec()),
      history_(std::move(history)),
      decision_(decision),
      start_(spec_.ordinals() == nullptr ? 0 : spec_.ordinals()->start().value_or(0)),
      count_(spec_.replicas().value_or(1)),
      ordered_(str(spec_.pod_management_policy()) != "Parallel"),
      rolling_(spec_.update_strategy() == nullptr || str(spec_.update_strategy()->type()) != "OnDelete"),
      deleting_(model::is_deleting(set_.meta())),
      all_(std::move(replicas)) {
  if (rolling_ && spec_.update_strategy() != nullptr && spec_.update_strategy()->rolling_update() != nullptr)
    partition_ = spec_.update_strategy()->rolling_update()->partition().value_or(0);
  const auto* status = set_.as<StatefulSet>()->status();
  const model::Object* current = status == nullptr ? nullptr : history_.named(str(status->current_revision()));
  current_ = current == nullptr ? history_.update : *current;
  decision_.weight += all_.size();
  for (const Replica& replica : all_) {
    if (replica.ordinal >= start_ && replica.ordinal < start_ + count_) {
      wanted_.emplace(replica.ordinal, replica);
    } else {
      condemned_.push_back(replica);
    }
  }
  std::sort(condemned_.begin(), condemned_.end(), [](const auto& a, const auto& b) { return a.ordinal > b.ordinal; });
}

void StatefulSetSync::run() {
  if (!deleting_ && mend_claims() && keep() && condemn() && rolling_) roll();
  report();
  std::vector<std::string> live = {std::string(current_.name()), std::string(history_.update.name())};
  for (const Replica& replica : all_) live.push_back(replica.revision);
  if (!deleting_) trim_history(history_, live, spec_.revision_history_limit().value_or(10), decision_);
}

/// Claims get and lose their owners before anything is deleted.
bool StatefulSetSync::mend_claims() {
  bool settled = true;
  auto mend = [&](const Replica& replica, bool condemned) {
    for (const ClaimOf& claim : claims_of(set_, replica.ordinal)) {
      const model::Object* stored = view_.find("persistentvolumeclaims", set_.ns(), claim.name);
      if (stored == nullptr || model::is_deleting(stored->meta())) continue;
      auto json = owners_patch(set_, *stored, &replica.object, condemned);
      if (!json) continue;
      bus::Command command = patch(*stored, *json);
      command.revision = stored->revision();
      decision_.add(std::move(command));
      settled = false;
    }
  };
  for (const auto& [ordinal, replica] : wanted_) mend(replica, false);
  for (const Replica& replica : condemned_) mend(replica, true);
  return settled;
}

void StatefulSetSync::wait_for(const Replica& replica) {
  if (replica.ready && !replica.available) decision_.wake(replica.available_at * 1'000'000);
}

void StatefulSetSync::remove_pod(const Replica& replica) {
  decision_.commands.push_back(
      {remove(replica.object),
       projection::Note{set_, "Normal", "SuccessfulDelete",
                        fmt::format("delete Pod {} in StatefulSet {} successful", replica.object.name(), set_.name())},
       projection::Note{
           set_, "Warning", "FailedDelete",
           fmt::format("delete Pod {} in StatefulSet {} failed error: {{}}", replica.object.name(), set_.name())}});
}

namespace {

bool owned_by_pod(const model::Object& claim) {
  const auto* owners = claim.meta()->owner_references();
  return owners != nullptr &&
         std::any_of(owners->begin(), owners->end(), [](const auto* o) { return str(o->kind()) == "Pod"; });
}

}  // namespace

bool StatefulSetSync::create_claims(int ordinal) {
  static const model::Kind& kind = *model::Schema::get().by_resource("persistentvolumeclaims");
  bool there = true;
  const std::string pod = fmt::format("{}-{}", set_.name(), ordinal);
  for (const ClaimOf& claim : claims_of(set_, ordinal)) {
    const model::Object* stored = view_.find("persistentvolumeclaims", set_.ns(), claim.name);
    if (stored != nullptr && !model::is_deleting(stored->meta())) {
      // A claim that was its last pod's is about to be collected: its successor waits for that.
      if (owned_by_pod(*stored)) {
        there = false;
        continue;
      }
      if (auto json = owners_patch(set_, *stored, nullptr, false)) {
        bus::Command command = patch(*stored, *json);
        command.revision = stored->revision();
        decision_.add(std::move(command));
        there = false;
      }
      continue;
    }
    there = false;
    if (stored != nullptr) continue;  // its end wakes this set
    decision_.commands.push_back(
        {create(kind, set_.ns(), make_claim(set_, claim)),
         projection::Note{
             set_, "Normal", "SuccessfulCreate",
             fmt::format("create Claim {} Pod {} in StatefulSet {} success", claim.name, pod, set_.name())},
         projection::Note{set_, "Warning", "FailedCreate",
                          fmt::format("create Claim {} for Pod {} in StatefulSet {} failed error: {{}}", claim.name,
                                      pod, set_.name())}});
  }
  return there;
}

bool StatefulSetSync::create_one(int ordinal) {
  if (!create_claims(ordinal)) return false;
  static const model::Kind& kind = *model::Schema::get().by_resource("pods");
  const bool old = rolling_ && ordinal < start_ + partition_;
  const model::Object& revision = old ? current_ : history_.update;
  const model::Bytes stored = revision_template(revision);
  const auto* pod_template =
      stored.empty() ? spec_.template_() : flatbuffers::GetRoot<api::core_v1::PodTemplateSpec>(stored.data());
  const std::string name = fmt::format("{}-{}", set_.name(), ordinal);
  decision_.commands.push_back(
      {create(kind, set_.ns(), make_replica(set_, ordinal, pod_template, revision.name())),
       projection::Note{set_, "Normal", "SuccessfulCreate",
                        fmt::format("create Pod {} in StatefulSet {} successful", name, set_.name())},
       projection::Note{set_, "Warning", "FailedCreate",
                        fmt::format("create Pod {} in StatefulSet {} failed error: {{}}", name, set_.name())}});
  return true;
}

/// What adopted pods lack of their identity.
void StatefulSetSync::mend(const Replica& replica) {
  const auto* meta = replica.object.meta();
  const std::string index = std::to_string(replica.ordinal);
  if (model::label(meta, "statefulset.kubernetes.io/pod-name") == replica.object.name() &&
      model::label(meta, "apps.kubernetes.io/pod-index") == index)
    return;
  decision_.add(patch(replica.object, json{{"metadata",
                                            {{"labels",
                                              {{"statefulset.kubernetes.io/pod-name", replica.object.name()},
                                               {"apps.kubernetes.io/pod-index", index}}}}}}
                                          .dump()));
}

/// True: the next one may follow.
bool StatefulSetSync::keep_one(int ordinal, const Replica* replica) {
  if (replica == nullptr) {
    create_one(ordinal);
    return !ordered_;
  }
  if (replica->failed || replica->succeeded) {
    if (!replica->terminating) {
      decision_.notes.push_back({set_, "Warning", replica->failed ? "RecreatingFailedPod" : "RecreatingTerminatedPod",
                                 fmt::format("StatefulSet {}/{} is recreating {} Pod {}", set_.ns(), set_.name(),
                                             replica->failed ? "failed" : "terminated", replica->object.name())});
      remove_pod(*replica);
    }
    return !ordered_;
  }
  if (replica->terminating) return !ordered_;
  mend(*replica);
  if (replica->pending) create_claims(ordinal);
  if (!ordered_) {
    wait_for(*replica);
    return true;
  }
  if (!replica->ready) return false;
  wait_for(*replica);
  return replica->available;
}

bool StatefulSetSync::keep() {
  for (int ordinal = start_; ordinal < start_ + count_; ++ordinal) {
    auto it = wanted_.find(ordinal);
    if (!keep_one(ordinal, it == wanted_.end() ? nullptr : &it->second)) return false;
  }
  return decision_.commands.empty();
}

bool StatefulSetSync::condemn() {
  const Replica* unhealthy = nullptr;  // the first of all that is
  for (const auto& [ordinal, replica] : wanted_) {
    if (!replica.healthy() && unhealthy == nullptr) unhealthy = &replica;
  }
  for (auto it = condemned_.rbegin(); it != condemned_.rend() && unhealthy == nullptr; ++it) {
    if (!it->healthy()) unhealthy = &*it;
  }
  for (const Replica& replica : condemned_) {
    if (replica.terminating) {
      if (ordered_) return false;
      continue;
    }
    const bool ended = replica.failed || replica.succeeded;  // it will never be ready again
    if (ordered_ && !replica.available && !ended && &replica != unhealthy) {
      wait_for(replica);
      return false;
    }
    remove_pod(replica);
    if (ordered_) return false;
  }
  return decision_.commands.empty();
}

int32_t StatefulSetSync::max_unavailable() const {
  const auto* update = spec_.update_strategy() == nullptr ? nullptr : spec_.update_strategy()->rolling_update();
  if (update == nullptr || update->max_unavailable() == nullptr) return 1;
  return std::max(1, resolve_percent(update->max_unavailable(), count_, true, "1"));
}

/// From the highest down to the partition, no further than the first that is not available.
void StatefulSetSync::roll() {
  const int32_t most = max_unavailable();
  int32_t down = 0;
  if (most > 1) {
    for (int ordinal = start_; ordinal < start_ + count_; ++ordinal) {
      auto it = wanted_.find(ordinal);
      down += it == wanted_.end() || !it->second.healthy() || !it->second.available;
    }
  }
  for (int ordinal = start_ + count_ - 1; ordinal >= start_ + partition_; --ordinal) {
    auto it = wanted_.find(ordinal);
    if (it == wanted_.end()) return;
    const Replica& replica = it->second;
    const bool old = replica.revision != history_.update.name();
    const bool serves = replica.healthy() && replica.available;
    if (most == 1) {
      if (old && !replica.terminating) return remove_pod(replica);
      if (!serves) return wait_for(replica);
      continue;
    }
    if (!old || replica.terminating) {
      if (!serves) wait_for(replica);
      continue;
    }
    if (serves && ++down > most) return;
    remove_pod(replica);
  }
}

void StatefulSetSync::report() {
  json status = status_of(set_);
  int64_t replicas = 0, ready = 0, available = 0, current = 0, updated = 0;
  for (const Replica& replica : all_) {
    replicas += replica.created;
    ready += replica.ready;
    available += replica.available;
    if (!replica.created || replica.terminating) continue;
    current += replica.revision == current_.name();
    updated += replica.revision == history_.update.name();
  }
  std::string_view revision = current_.name();
  if (rolling_ && replicas == count_ && updated == replicas && ready == replicas) {
    current = updated;
    revision = history_.update.name();
  }
  status["observedGeneration"] = set_.meta()->generation().value_or(0);
  status["replicas"] = replicas;
  status["availableReplicas"] = available;
  put_count(status, "readyReplicas", ready);
  put_count(status, "currentReplicas", current);
  put_count(status, "updatedReplicas", updated);
  status["currentRevision"] = revision;
  status["updateRevision"] = history_.update.name();
  status["collisionCount"] = history_.collisions;
  report_status(set_, status, decision_);
}

}  // namespace gantry::controllers
