#include "services/controllers/daemonset/sync.h"

#include "libs/model/schema.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/daemonset/daemonset.h"
#include "services/controllers/framework/commands.h"
#include "services/controllers/framework/report.h"

namespace gantry::controllers {

using api::core_v1::Pod;
using model::str;
using nlohmann::json;

// A pod that a node refuses again and again is not made more often than this.
constexpr int64_t kFailedStays = 10;

DaemonSetSync::DaemonSetSync(const View& view, model::Object set, History history,
                             const std::vector<model::Object>& pods, int64_t now, const Memory& memory,
                             Decision& decision)
    : set_(std::move(set)),
      spec_(*set_.as<api::apps_v1::DaemonSet>()->spec()),
      history_(std::move(history)),
      hash_(revision_hash(history_.update, {.hash_label = kRevisionHash})),
      now_(now),
      memory_(memory),
      decision_(decision) {
  if (spec_.update_strategy() != nullptr) rolling_ = str(spec_.update_strategy()->type()) != "OnDelete";
  view.cache("nodes").for_each([&](const model::Object& node) {
    places_.emplace(node.name(), place_of(set_, node));
    ++decision_.weight;
  });
  const int32_t min_ready = spec_.min_ready_seconds().value_or(0);
  for (const model::Object& object : pods) {
    const Pod& pod = *object.as<Pod>();
    const std::string_view phase = pod.status() == nullptr ? std::string_view() : str(pod.status()->phase());
    Daemon d;
    d.object = object;
    d.updated = model::label(object.meta(), kRevisionHash) == hash_;
    d.terminating = model::is_deleting(object.meta());
    d.failed = phase == "Failed";
    d.succeeded = phase == "Succeeded";
    if (d.terminating && (d.failed || d.succeeded)) continue;  // its place is free
    d.ready = model::pod_ready(pod);
    d.available = model::pod_available(pod, min_ready, now_);
    d.created = model::created_at(object.meta());
    if (d.ready) d.available_at = model::condition(pod, "Ready")->last_transition_time().value_or(now_) + min_ready;
    if (d.ready && !d.available) decision_.wake(d.available_at * 1'000'000);
    on_node_[node_of(object)].push_back(std::move(d));
  }
  for (auto& [node, daemons] : on_node_) {
    std::stable_sort(daemons.begin(), daemons.end(),
                     [](const Daemon& a, const Daemon& b) { return a.created < b.created; });
  }
}

void DaemonSetSync::run() {
  const bool deleting = model::is_deleting(set_.meta());
  if (!deleting && keep() && rolling_) roll();
  report();
  if (deleting) return;
  std::vector<std::string> live = {std::string(history_.update.name())};
  for (const model::Object& revision : history_.revisions) {
    const std::string hash = revision_hash(revision, {.hash_label = kRevisionHash});
    for (const auto& [node, daemons] : on_node_) {
      for (const Daemon& d : daemons) {
        if (model::label(d.object.meta(), kRevisionHash) == hash) live.emplace_back(revision.name());
      }
    }
  }
  trim_history(history_, live, spec_.revision_history_limit().value_or(10), decision_);
}

void DaemonSetSync::create_on(const std::string& node) {
  static const model::Kind& kind = *model::Schema::get().by_resource("pods");
  if (decision_.commands.size() >= DaemonSetController::kBurst) return;
  decision_.commands.push_back({create(kind, set_.ns(), make_daemon(set_, node, hash_)),
                                projection::Note{set_, "Normal", "SuccessfulCreate", "Created pod: {}"},
                                projection::Note{set_, "Warning", "FailedCreate", "Error creating: {}"}});
}

void DaemonSetSync::remove_pod(const Daemon& daemon) {
  if (daemon.terminating || decision_.commands.size() >= DaemonSetController::kBurst) return;
  decision_.commands.push_back(
      {remove(daemon.object),
       projection::Note{set_, "Normal", "SuccessfulDelete", fmt::format("Deleted pod: {}", daemon.object.name())},
       projection::Note{set_, "Warning", "FailedDelete", "Error deleting: {}"}});
}

/// Takes away a pod that will not run again.
void DaemonSetSync::end_pod(const Daemon& daemon, const std::string& node) {
  if (const int64_t until = daemon.created + kFailedStays; daemon.failed && until > now_)
    return decision_.wake(until * 1'000'000);
  decision_.notes.push_back(
      {set_, daemon.failed ? "Warning" : "Normal", daemon.failed ? "FailedDaemonPod" : "SucceededDaemonPod",
       fmt::format("Found {} daemon pod {}/{} on node {}, will try to {} it", daemon.failed ? "failed" : "succeeded",
                   daemon.object.ns(), daemon.object.name(), node, daemon.failed ? "kill" : "delete")});
  remove_pod(daemon);
}

/// More than one runs on a node: the oldest stays; where new ones surge, the oldest new one takes over from the oldest
/// old one when it is available.
void DaemonSetSync::surplus(std::vector<const Daemon*> running) {
  if (running.size() < 2) return;
  if (!surges_) {
    for (size_t i = 1; i < running.size(); ++i) remove_pod(*running[i]);
    return;
  }
  const Daemon *fresh = nullptr, *old = nullptr;
  for (const Daemon* d : running) {
    const Daemon*& first = d->updated ? fresh : old;
    if (first == nullptr) {
      first = d;
    } else {
      remove_pod(*d);
    }
  }
  if (fresh != nullptr && old != nullptr && (!old->ready || fresh->available)) remove_pod(*old);
}

void DaemonSetSync::keep_node(const std::string& node, const Place& place, std::vector<std::string>& missing) {
  auto here = on_node_.find(node);
  if (here == on_node_.end()) {
    if (place.run) missing.push_back(node);
    return;
  }
  if (!place.stay) {
    for (const Daemon& d : here->second) remove_pod(d);
    return;
  }
  std::vector<const Daemon*> running;
  for (const Daemon& d : here->second) {
    if (d.terminating) continue;
    if (d.failed || d.succeeded) {
      end_pod(d, node);
    } else {
      running.push_back(&d);
    }
  }
  // With room for two on a node, what goes need not be gone before its successor comes.
  const bool all_go =
      std::all_of(here->second.begin(), here->second.end(), [](const Daemon& d) { return d.terminating; });
  if (surges_ && all_go && place.run) missing.push_back(node);
  surplus(std::move(running));
}

bool DaemonSetSync::keep() {
  int32_t desired = 0;
  for (const auto& [node, place] : places_) desired += place.run;
  surges_ = rolling_ && surge_of(spec_, desired) > 0;
  std::vector<std::string> missing;
  for (const auto& [node, place] : places_) keep_node(node, place, missing);
  for (const auto& [node, daemons] : on_node_) {  // of nodes that are gone; bound pods are podgc's
    if (places_.contains(node)) continue;
    for (const Daemon& d : daemons) {
      const auto* spec = d.object.as<Pod>()->spec();
      if (spec == nullptr || str(spec->node_name()).empty()) remove_pod(d);
    }
  }
  // After a failure one create goes ahead to see whether the others have a chance.
  if (memory_.failures > 0 && missing.size() > 1) missing.resize(1);
  for (const std::string& node : missing) create_on(node);
  return decision_.commands.empty();
}

void DaemonSetSync::report() {
  int64_t desired = 0, current = 0, misscheduled = 0, ready = 0, available = 0, updated = 0;
  for (const auto& [node, place] : places_) {
    auto here = on_node_.find(node);
    const bool scheduled = here != on_node_.end();
    if (!place.run) {
      misscheduled += scheduled;
      continue;
    }
    ++desired;
    if (!scheduled) continue;
    ++current;
    const Daemon& first = here->second.front();
    ready += first.ready;
    available += first.available;
    updated += first.updated;
  }
  json status = status_of(set_);
  status["observedGeneration"] = set_.meta()->generation().value_or(0);
  status["desiredNumberScheduled"] = desired;
  status["currentNumberScheduled"] = current;
  status["numberMisscheduled"] = misscheduled;
  status["numberReady"] = ready;
  put_count(status, "numberAvailable", available);
  put_count(status, "numberUnavailable", desired - available);
  put_count(status, "updatedNumberScheduled", updated);
  if (history_.collisions > 0) status["collisionCount"] = history_.collisions;
  report_status(set_, status, decision_);
}

}  // namespace gantry::controllers
