#include "services/scheduler/scheduler.h"

#include <glog/logging.h>

#include <nlohmann/json.hpp>

#include "libs/base/ids.h"
#include "libs/bus/doubt.h"
#include "libs/model/json.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::scheduler {

using api::core_v1::Pod;
using model::str;

Scheduler::Scheduler(Loop& loop, bus::Commands& commands, projection::Cache& nodes, projection::Cache& pods,
                     projection::Recorder* recorder)
    : Scheduler(loop, commands, nodes, pods, recorder, Options()) {}

Scheduler::Scheduler(Loop& loop, bus::Commands& commands, projection::Cache& nodes, projection::Cache& pods,
                     projection::Recorder* recorder, Options options)
    : loop_(loop),
      commands_(commands),
      nodes_(nodes),
      pods_(pods),
      recorder_(recorder),
      options_(std::move(options)),
      author_{options_.name, "", 0},
      nonce_(new_uid().substr(0, 8)) {
  nodes_.for_each([this](const model::Object& o) { node_changed({{}, o}); });
  pods_.for_each([this](const model::Object& o) { pod_changed({{}, o}); });
  nodes_.on_change([this, alive = alive_](const projection::Change& change) {
    if (*alive) node_changed(change);
  });
  pods_.on_change([this, alive = alive_](const projection::Change& change) {
    if (*alive) pod_changed(change);
  });
  tick_ = loop_.every(std::chrono::milliseconds(200), [this] { settle(); });
}

Scheduler::~Scheduler() { *alive_ = false; }

void Scheduler::lead(std::string lease, uint64_t epoch) {
  resign();
  phase_ = Phase::kCatchingUp;
  author_.lease = std::move(lease);
  author_.epoch = epoch;
  catch_up_ = projection::catch_up(loop_, commands_, {&nodes_, &pods_}, [this] { start(); });
  LOG(INFO) << "scheduler=" << options_.name << " epoch=" << epoch << " elected, catching up";
}

void Scheduler::resign() {
  ++term_;
  phase_ = Phase::kFollowing;
  catch_up_.reset();
  retries_.clear();
  in_flight_ = 0;
  // What was assumed and is not in the view is not known: the view alone counts again.
  auto assumed = std::exchange(assumed_, {});
  for (const auto& [key, a] : assumed) {
    size_t slash = key.find('/');
    const model::Object* pod = pods_.find(key.substr(0, slash), key.substr(slash + 1));
    if (pod == nullptr || !occupies(*pod)) cluster_.remove_pod(key);
  }
  nominations_.clear();
  queue_.clear();
  neighbors_wait_ = false;
  blocked_.clear();
}

void Scheduler::start() {
  phase_ = Phase::kLeading;
  pods_.for_each([this](const model::Object& o) {
    if (!wants_node(o, options_.name)) return;
    PodInfo pod = describe(o);
    const auto* status = o.as<Pod>()->status();
    const std::string node(status == nullptr ? std::string_view() : str(status->nominated_node_name()));
    if (cluster_.node(node) != nullptr) nominations_.add(pod, node);
    queue_.add(std::move(pod));
  });
  LOG(INFO) << "scheduler=" << options_.name << " epoch=" << author_.epoch << " leading, pending=" << queue_.active()
            << " nodes=" << cluster_.node_count();
  wake_turn();
}

void Scheduler::node_changed(const projection::Change& change) {
  if (change.after) {
    if (cluster_.set_node(change.after)) wake_sleepers();
  } else {
    cluster_.remove_node(change.before.name());
    wake_sleepers();
  }
}

void Scheduler::pod_changed(const projection::Change& change) {
  const model::Object& object = change.after ? change.after : change.before;
  std::string key = fmt::format("{}/{}", object.ns(), object.name());
  auto assumed = assumed_.find(key);
  if (assumed != assumed_.end() && (!change.after || change.after.uid() != assumed->second.uid ||
                                    occupies(change.after) || model::pod_terminal(*change.after.as<Pod>()))) {
    assumed_.erase(assumed);  // the view knows better now
    assumed = assumed_.end();
  }
  if (!change.after || model::pod_terminal(*change.after.as<Pod>())) {
    queue_.remove(key);
    nominations_.settle(key);
    if (cluster_.remove_pod(key)) wake_sleepers();
    return;
  }
  if (occupies(change.after)) {
    queue_.remove(key);
    nominations_.settle(key);
    std::string_view node = str(change.after.as<Pod>()->spec()->node_name());
    bool same = change.before && change.before.uid() == change.after.uid();
    if (!same || cluster_.node_of(key) != node) {
      cluster_.set_pod(describe(change.after), node);
      neighbors_changed();
    } else if (cluster_.refresh_pod(key, change.after)) {
      neighbors_changed();
    }
    return;
  }
  if (assumed != assumed_.end()) return;  // an event from before the bind
  bool waits = wants_node(change.after, options_.name);
  if (!waits) {
    queue_.remove(key);
    nominations_.drop(key);
    return;
  }
  if (phase_ != Phase::kLeading) return;
  // A change of its status (our own report that it does not fit) is no reason to try it again.
  if (change.before && queue_.contains(key) && change.before.uid() == change.after.uid()) {
    PodInfo info = describe(change.after);
    if (info.shape_among_others == describe(change.before).shape_among_others) return;
    queue_.add(std::move(info));
  } else {
    queue_.add(describe(change.after));
  }
  wake_turn();
}

void Scheduler::wake_turn() {
  if (woken_ || phase_ != Phase::kLeading) return;
  woken_ = true;
  loop_.post([this, alive = alive_] {
    if (!*alive) return;
    woken_ = false;
    turn();
  });
}

void Scheduler::wake_sleepers() {
  if (sleepers_ || queue_.sleeping() == 0) return;
  sleepers_ = loop_.after(options_.wake_interval, [this] {
    sleepers_.reset();
    queue_.wake();
    neighbors_wait_ = false;
    wake_turn();
  });
}

void Scheduler::neighbors_changed() {
  if (!neighbors_wait_) return;
  cluster_.touch();
  wake_sleepers();
}

void Scheduler::turn() {
  if (phase_ != Phase::kLeading) return;
  settle();
  for (size_t n = 0; n < options_.per_turn && in_flight_ < options_.max_in_flight; ++n) {
    Queue::Item* item = queue_.next();
    if (item == nullptr) return;
    ++counters_.tried;
    try_one(*item);
  }
  if (queue_.active() > 0 && in_flight_ < options_.max_in_flight) wake_turn();  // else answers wake it
}

bool Scheduler::try_one(Queue::Item& item) {
  const uint64_t shape = cluster_.refusals().empty() ? item.pod.shape : item.pod.shape_among_others;
  auto blocked = blocked_.find(shape);
  if (blocked != blocked_.end() && !nominations_.contains(item.pod.key)) {
    if (blocked->second.generation == cluster_.generation()) {
      reject(item, blocked->second.message);
      return false;
    }
    blocked_.erase(blocked);
  }
  Volumes::Needs needs;
  if (volumes_ != nullptr && !item.pod.claims.empty()) needs = volumes_->needs(item.pod);
  const Choice choice = find_node(item.pod, needs);
  if (choice.node == nullptr) {
    std::string message = needs.refused.empty()
                              ? choice.why.message()
                              : fmt::format("0/{} nodes are available: {}.", cluster_.node_count(), needs.refused);
    if (const std::string more = make_room(item, needs); !more.empty()) message += " preemption: " + more;
    if (nominations_.contains(item.pod.key)) {  // its like may find room in the same way
      reject(item, message);
      return false;
    }
    if (!blocked_.empty() && blocked_.begin()->second.generation != cluster_.generation()) blocked_.clear();
    blocked_[shape] = {cluster_.generation(), message};
    reject(item, message);
    return false;
  }
  PodInfo pod = item.pod;
  if (!needs.waiting.empty()) {
    const std::string node = choice.node->name;
    queue_.sleep(pod.key);
    select_node(pod, needs, node);
    return false;
  }
  queue_.remove(pod.key);
  bind(pod, choice.node->name);
  return true;
}

Choice Scheduler::find_node(const PodInfo& pod, Volumes::Needs& needs) {
  Choice choice;
  if (!needs.refused.empty()) return choice;
  NodeFilter filter;
  if (needs.any()) filter = [this, &needs](const NodeInfo& node) { return volumes_->refuses(needs, node); };
  const Nominations::View view(nominations_, pod);
  // Where others made room for it, if that is enough.
  const NodeInfo* nominated = cluster_.node(nominations_.node_of(pod.key));
  if (nominated != nullptr && fits_among(cluster_, *nominated, pod, filter)) {
    choice.node = nominated;
    return choice;
  }
  choice = choose(cluster_, pod, cursor_, filter);
  if (choice.node == nullptr && !needs.waiting.empty()) {
    needs.stay = false;  // there is no room there any more
    choice = choose(cluster_, pod, cursor_, filter);
  }
  return choice;
}

void Scheduler::use_volumes(const Volumes& volumes) { volumes_ = &volumes; }

void Scheduler::use_namespaces(projection::Cache& namespaces) {
  const auto set = [this](const model::Object& o, bool there) {
    if (!cluster_.set_namespace(o.name(), there ? o : model::Object())) return;
    cluster_.touch();
    wake_sleepers();
  };
  namespaces.for_each([&](const model::Object& o) { set(o, true); });
  namespaces.on_change([set, alive = alive_](const projection::Change& change) {
    if (*alive) set(change.after ? change.after : change.before, static_cast<bool>(change.after));
  });
}

void Scheduler::volumes_changed() {
  cluster_.touch();
  wake_sleepers();
}

void Scheduler::select_node(const PodInfo& pod, const Volumes::Needs& needs, const std::string& node) {
  for (const model::Object& claim : needs.waiting) {
    if (model::annotation(claim.meta(), Volumes::kSelectedNode) == node) continue;  // its volume is on its way
    bus::Command command = order(author_, claim, bus::Verb::Patch);
    command.patch_type = bus::PatchType::Merge;
    command.json = nlohmann::json{{"metadata", {{"annotations", {{Volumes::kSelectedNode, node}}}}}}.dump();
    command.because = fmt::format("pods/{}@{}", pod.key, pod.object.revision());
    commands_.send(std::move(command), [this, term = term_, alive = alive_](const Result<bus::CommandOutcome>& result) {
      if (!*alive || term != term_ || result.ok() || lost_lease(result.error())) return;
      // Nothing will change by itself: try the pod again in a while.
      uint64_t id = ++next_retry_;
      retries_[id] = loop_.after(options_.retry, [this, id] {
        retries_.erase(id);
        volumes_changed();
      });
    });
  }
}

void Scheduler::bind(const PodInfo& pod, const std::string& node_name) {
  std::string node = node_name;  // set_pod may move the cluster's slots
  cluster_.set_pod(pod, node);
  nominations_.settle(pod.key);
  neighbors_changed();
  assumed_[pod.key] = {std::string(pod.object.uid()), node};
  bus::Command command = order(author_, pod.object, bus::Verb::Bind);
  command.id = fmt::format("{}/{}/{}/{}", author_.lease, author_.epoch, nonce_, ++numbered_);
  command.node = node;
  command.because = fmt::format("pods/{}@{}", pod.key, pod.object.revision());
  ++in_flight_;
  send_bind(std::move(command), pod.object);
}

void Scheduler::send_bind(bus::Command command, const model::Object& pod, bool in_doubt) {
  bus::Command sent = command;
  commands_.send(std::move(sent), [this, command = std::move(command), pod, in_doubt, term = term_,
                                   alive = alive_](Result<bus::CommandOutcome> result) mutable {
    if (!*alive || term != term_) return;
    if (!result.ok() && (result.code() == Code::kUnknownOutcome || (in_doubt && bus::refused_unseen(result.code())))) {
      ++counters_.resends;  // the same id again: bound once, whatever happened to the answer
      uint64_t id = ++next_retry_;
      retries_[id] = loop_.after(options_.retry, [this, id, command = std::move(command), pod]() mutable {
        retries_.erase(id);
        send_bind(std::move(command), pod, true);
      });
      return;
    }
    bound(command, pod, result);
  });
}

void Scheduler::bound(const bus::Command& command, const model::Object& pod,
                      const Result<bus::CommandOutcome>& result) {
  --in_flight_;
  std::string key = fmt::format("{}/{}", command.ns, command.name);
  auto assumed = assumed_.find(key);
  bool mine = assumed != assumed_.end() && assumed->second.uid == command.uid;
  if (result.ok()) {
    ++counters_.bound;
    if (mine) assumed->second.answered = true, assumed->second.revision = result->revision;
    if (recorder_ != nullptr) {
      recorder_->record({pod, "Normal", "Scheduled", fmt::format("Successfully assigned {} to {}", key, command.node)},
                        options_.name);
    }
  } else {
    ++counters_.failed;
    const Error& error = result.error();
    if (lost_lease(error)) return;
    VLOG(1) << "pod=" << key << " not bound to node=" << command.node << ": " << error.message;
    if (mine) {
      // Bound by another, or gone: the view will show it by then. Otherwise nothing was done: try again in a while.
      if (error.current_revision > pods_.revision()) {
        assumed->second.answered = true;
        assumed->second.revision = error.current_revision;
      } else {
        uint64_t id = ++next_retry_;
        retries_[id] = loop_.after(options_.retry, [this, id, key] {
          retries_.erase(id);
          forget(key);
        });
      }
    }
  }
  if (queue_.active() > 0) wake_turn();
}

bool Scheduler::lost_lease(const Error& error) {
  if (error.code != Code::kForbidden || error.causes.empty() || error.causes[0].field != "lease") return false;
  LOG(WARNING) << "scheduler=" << options_.name << " epoch=" << author_.epoch << " deposed: " << error.message;
  resign();
  if (deposed_) deposed_();
  return true;
}

void Scheduler::forget(const std::string& key) {
  if (assumed_.erase(key) == 0) return;
  if (cluster_.remove_pod(key)) wake_sleepers();
  size_t slash = key.find('/');
  const model::Object* pod = pods_.find(key.substr(0, slash), key.substr(slash + 1));
  if (pod == nullptr || !wants_node(*pod, options_.name)) return;
  queue_.add(describe(*pod));
  wake_turn();
}

/// Forgets what the view, having caught up with the bind, does not show as bound.
void Scheduler::settle() {
  std::vector<std::string> stale;
  for (const auto& [key, assumed] : assumed_) {
    if (assumed.answered && pods_.revision() >= assumed.revision) stale.push_back(key);
  }
  std::sort(stale.begin(), stale.end());
  for (const std::string& key : stale) forget(key);
}

void Scheduler::reject(Queue::Item& item, const std::string& message) {
  ++counters_.unschedulable;
  neighbors_wait_ = neighbors_wait_ || item.pod.neighbors != nullptr;
  std::string key = item.pod.key;
  bool told = item.told == message;
  item.told = message;
  model::Object object = item.pod.object;
  queue_.sleep(key);
  if (told) return;
  if (recorder_ != nullptr) recorder_->record({object, "Warning", "FailedScheduling", message}, options_.name);
  const auto* old = model::condition(*object.as<Pod>(), "PodScheduled");
  bool was_false = old != nullptr && str(old->status()) == "False";
  if (was_false && str(old->message()) == message) return;
  auto said = condition(object, "PodScheduled", "False", "Unschedulable", message, loop_.wall() / 1'000'000);
  commands_.send(patch_conditions(author_, object, std::move(said)),
                 [this, term = term_, alive = alive_](const Result<bus::CommandOutcome>& result) {
                   if (!*alive || term != term_ || result.ok()) return;
                   lost_lease(result.error());  // anything else: the next failure tells it again
                 });
}

}  // namespace gantry::scheduler
