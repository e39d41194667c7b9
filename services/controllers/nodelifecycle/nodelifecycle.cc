#include "services/controllers/nodelifecycle/nodelifecycle.h"

#include <glog/logging.h>

#include "libs/model/draft.h"
#include "libs/model/workload.h"
#include "services/controllers/framework/commands.h"
#include "services/controllers/nodelifecycle/taints.h"

namespace gantry::controllers {
namespace {

using api::core_v1::Node;
using api::core_v1::Pod;
using model::str;

constexpr WallMicros kLookAgain = 2'000'000;
constexpr const char* kConditions[] = {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"};

struct Fresh {
  const char *type, *reason, *message;
};
constexpr Fresh kFresh[] = {{"MemoryPressure", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"},
                            {"DiskPressure", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"},
                            {"PIDPressure", "KubeletHasSufficientPID", "kubelet has sufficient PID available"}};

bool is_unknown(const Node& node, const char* type) {
  const auto* c = model::condition(node, type);
  return c != nullptr && str(c->status()) == "Unknown";
}

/// Sets one condition of the draft, which has those of `node`.
class Conditions {
 public:
  Conditions(model::Draft& draft, const Node& node, int64_t now) : draft_(draft), node_(node), now_(now) {
    const auto* all = node.status() == nullptr ? nullptr : node.status()->conditions();
    count_ = all == nullptr ? 0 : all->size();
  }
  void set(std::string_view type, std::string_view status, std::string_view reason, std::string_view message) {
    size_t at = count_;
    for (size_t i = 0; node_.status() != nullptr && node_.status()->conditions() != nullptr &&
                       i < node_.status()->conditions()->size();
         ++i) {
      if (str(node_.status()->conditions()->Get(static_cast<flatbuffers::uoffset_t>(i))->type()) == type) at = i;
    }
    std::string path =
        at == count_ ? fmt::format("status.conditions[{}]", "+") : fmt::format("status.conditions[{}]", at);
    draft_.set(path + ".type", type);
    path = fmt::format("status.conditions[{}]", at);
    if (at == count_) ++count_;
    draft_.set(path + ".status", status);
    draft_.set(path + ".reason", reason);
    draft_.set(path + ".message", message);
    draft_.set(path + ".lastTransitionTime", now_);
  }

 private:
  model::Draft& draft_;
  const Node& node_;
  int64_t now_;
  size_t count_;
};

/// True if a command was added.
bool mark_unknown(const model::Object& object, int64_t now, Decision& decision) {
  const Node& node = *object.as<Node>();
  if (is_unknown(node, "Ready")) return false;
  model::Draft draft(object);
  Conditions conditions(draft, node, now);
  for (const char* type : kConditions) {
    if (is_unknown(node, type)) continue;
    bool known = model::condition(node, type) != nullptr;
    conditions.set(type, "Unknown", known ? "NodeStatusUnknown" : "NodeStatusNeverUpdated",
                   known ? "Kubelet stopped posting node status." : "Kubelet never posted node status.");
  }
  bus::Command command = update_status(object, draft.bytes());
  command.revision = object.revision();  // its agent may have come back and said so
  decision.commands.push_back(
      {std::move(command), projection::Note{object, "Normal", "NodeNotReady",
                                            fmt::format("Node {} status is now: NodeNotReady", object.name())}});
  return true;
}

bool mark_known(const model::Object& object, const NodeHealth::Beat& beat, int64_t now, Decision& decision) {
  const Node& node = *object.as<Node>();
  if (!is_unknown(node, "Ready")) return false;
  model::Draft draft(object);
  Conditions conditions(draft, node, now);
  conditions.set("Ready", beat.ready ? "True" : "False", beat.ready ? "KubeletReady" : "KubeletNotReady",
                 beat.ready ? "node agent is posting ready status" : std::string_view(beat.reason));
  for (const Fresh& fresh : kFresh) {
    if (is_unknown(node, fresh.type)) conditions.set(fresh.type, "False", fresh.reason, fresh.message);
  }
  bus::Command command = update_status(object, draft.bytes());
  command.revision = object.revision();
  decision.commands.push_back(
      {std::move(command),
       beat.ready ? std::optional(projection::Note{object, "Normal", "NodeReady",
                                                   fmt::format("Node {} status is now: NodeReady", object.name())})
                  : std::nullopt});
  return true;
}

bool sync_taints(const model::Object& object, bool execute, int64_t now, Decision& decision) {
  const Node& node = *object.as<Node>();
  std::vector<TaintValue> wanted = desired_taints(node, execute, now);
  if (wanted == taints_of(node)) return false;
  model::Draft draft(object);
  draft.clear("spec.taints");
  for (size_t i = 0; i < wanted.size(); ++i) {
    draft.set("spec.taints[+].key", wanted[i].key);
    std::string at = fmt::format("spec.taints[{}].", i);
    if (!wanted[i].value.empty()) draft.set(at + "value", wanted[i].value);
    draft.set(at + "effect", wanted[i].effect);
    if (wanted[i].added) draft.set(at + "timeAdded", *wanted[i].added);
  }
  decision.add(update(object, draft.bytes()));
  return true;
}

void mark_not_ready(const model::Object& object, int64_t now, Decision& decision) {
  const Pod& pod = *object.as<Pod>();
  if (!model::pod_ready(pod)) return;
  model::Draft draft(object);
  for (size_t i = 0; i < pod.status()->conditions()->size(); ++i) {
    if (str(pod.status()->conditions()->Get(static_cast<flatbuffers::uoffset_t>(i))->type()) != "Ready") continue;
    std::string at = fmt::format("status.conditions[{}].", i);
    draft.set(at + "status", "False");
    draft.set(at + "lastTransitionTime", now);
  }
  bus::Command command = update_status(object, draft.bytes());
  command.revision = object.revision();
  decision.commands.push_back(
      {std::move(command), projection::Note{object, "Warning", "NodeNotReady", "Node is not ready"}});
}

}  // namespace

void NodeLifecycleController::setup(View& view) {
  view.need("nodes");
  view.index("pods", "node", [](const model::Object& o, std::vector<std::string>& values) {
    const auto* spec = o.as<Pod>()->spec();
    values.emplace_back(spec == nullptr ? std::string_view() : str(spec->node_name()));
  });
}

void NodeLifecycleController::keys_for(const View& view, std::string_view resource, const projection::Change& change,
                                       std::vector<std::string>& keys) const {
  if (resource == "nodes") {
    if (change.after) keys.emplace_back(change.after.name());
    return;
  }
  if (!change.after || change.after.as<Pod>()->spec() == nullptr) return;
  std::string_view name = str(change.after.as<Pod>()->spec()->node_name());
  const model::Object* node = name.empty() ? nullptr : view.find("nodes", "", name);
  if (node == nullptr) return;
  // Pods matter only where there are taints that drive them away.
  for (const TaintValue& taint : taints_of(*node->as<Node>())) {
    if (taint.effect != "NoExecute") continue;
    keys.emplace_back(name);
    return;
  }
}

bool NodeLifecycleController::braked(const View& view) const {
  if (counted_at_ == health_.now()) return braked_;
  size_t missing = 0, total = 0;
  view.cache("nodes").for_each([&](const model::Object& node) {
    ++total;
    missing += health_.missing(std::string(node.name()));
  });
  bool braked = missing > 0 && (missing == total || (missing > kFewNodes && missing * 100 >= kBrakePercent * total));
  if (braked && !braked_)
    LOG(WARNING) << "nodes missing=" << missing << " of=" << total << ": nothing is evicted for it";
  counted_at_ = health_.now();
  return braked_ = braked;
}

Decision NodeLifecycleController::decide(const View& view, const std::string& key, WallMicros now_micros,
                                         const Memory&) const {
  Decision decision;
  const model::Object* found = view.find("nodes", key);
  if (found == nullptr) return decision;
  const model::Object object = *found;
  const Node& node = *object.as<Node>();
  int64_t now = now_micros / 1'000'000;
  bool missing = health_.missing(key);
  bool brake = missing && braked(view);
  const NodeHealth::Beat* beat = health_.fresh(key);

  if (missing || health_.deaf()) {
    decision.wake(now_micros + kLookAgain);
  } else {
    decision.wake(now_micros + std::max<int64_t>((health_.grace() - health_.silence(key)).count(), 0) + 1'000);
  }
  if (missing && mark_unknown(object, now, decision)) return decision;
  if (!missing && beat != nullptr && mark_known(object, *beat, now, decision)) return decision;
  // Unknown by an earlier term and not yet heard in this one: left as it is until one can tell.
  bool undecided = is_unknown(node, "Ready") && !missing;
  if (!undecided && sync_taints(object, !brake, now, decision)) return decision;

  // Silence or not, other people's NoExecute taints count.
  auto counts = [&](std::string_view taint) {
    if (taint == kUnreachable) return missing && !brake;
    if (taint == kNotReady) return !missing && beat != nullptr;  // it says so itself
    return true;
  };
  std::vector<model::Object> pods;
  view.each_by("pods", "node", key, [&](const model::Object& pod) { pods.push_back(pod); });
  std::sort(pods.begin(), pods.end(), [](const auto& a, const auto& b) { return make_key(a) < make_key(b); });
  decision.weight = 1 + pods.size();
  for (const model::Object& o : pods) {
    const Pod& pod = *o.as<Pod>();
    if (!model::pod_active(pod)) continue;
    auto at = eviction_time(pod, node, counts);
    if (at && *at <= now) {
      decision.commands.push_back(
          {remove(o), projection::Note{o, "Normal", "TaintManagerEviction",
                                       fmt::format("Marking for deletion Pod {}", make_key(o))}});
      continue;
    }
    if (at) decision.wake(*at * 1'000'000);
    if (missing) mark_not_ready(o, now, decision);
  }
  return decision;
}

}  // namespace gantry::controllers
