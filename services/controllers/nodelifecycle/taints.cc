#include "services/controllers/nodelifecycle/taints.h"

#include "libs/model/workload.h"

namespace gantry::controllers {

using api::core_v1::Node;
using api::core_v1::Pod;
using model::str;

namespace {

struct Rule {
  const char *condition, *status, *taint;
};
constexpr Rule kRules[] = {
    {"Ready", "False", kNotReady},
    {"Ready", "Unknown", kUnreachable},
    {"MemoryPressure", "True", "node.kubernetes.io/memory-pressure"},
    {"DiskPressure", "True", "node.kubernetes.io/disk-pressure"},
    {"PIDPressure", "True", "node.kubernetes.io/pid-pressure"},
    {"NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"},
};
constexpr const char* kUnschedulable = "node.kubernetes.io/unschedulable";

bool ours(const TaintValue& taint) {
  if (taint.effect == "NoExecute") return taint.key == kUnreachable || taint.key == kNotReady;
  if (taint.effect != "NoSchedule") return false;
  return taint.key == kUnschedulable ||
         std::any_of(std::begin(kRules), std::end(kRules), [&](const Rule& rule) { return taint.key == rule.taint; });
}

bool holds(const Node& node, const Rule& rule) {
  const auto* condition = model::condition(node, rule.condition);
  // A node that has not said that it is ready is not.
  if (condition == nullptr) return rule.taint == std::string_view(kNotReady);
  return str(condition->status()) == rule.status;
}

}  // namespace

std::vector<TaintValue> taints_of(const Node& node) {
  std::vector<TaintValue> taints;
  if (node.spec() == nullptr || node.spec()->taints() == nullptr) return taints;
  for (const auto* t : *node.spec()->taints()) {
    TaintValue taint{std::string(str(t->key())), std::string(str(t->value())), std::string(str(t->effect())),
                     std::nullopt};
    if (t->time_added().has_value()) taint.added = *t->time_added();
    taints.push_back(std::move(taint));
  }
  return taints;
}

std::vector<TaintValue> desired_taints(const Node& node, bool execute, int64_t now) {
  std::vector<TaintValue> wanted;
  for (const Rule& rule : kRules) {
    if (!holds(node, rule)) continue;
    wanted.push_back({rule.taint, "", "NoSchedule", std::nullopt});
    bool about_ready = std::string_view(rule.condition) == "Ready";
    if (about_ready && execute && model::condition(node, "Ready") != nullptr)
      wanted.push_back({rule.taint, "", "NoExecute", now});
  }
  if (node.spec() != nullptr && node.spec()->unschedulable().value_or(false))
    wanted.push_back({kUnschedulable, "", "NoSchedule", std::nullopt});
  std::vector<TaintValue> result;
  for (TaintValue& taint : taints_of(node)) {
    auto same = std::find_if(wanted.begin(), wanted.end(),
                             [&](const TaintValue& w) { return w.key == taint.key && w.effect == taint.effect; });
    if (ours(taint) && same == wanted.end()) continue;
    if (same != wanted.end()) wanted.erase(same);
    if (taint.effect == "NoExecute" && !taint.added) taint.added = now;
    result.push_back(std::move(taint));
  }
  for (TaintValue& taint : wanted) {
    if (taint.effect == "NoSchedule") taint.added = now;
    result.push_back(std::move(taint));
  }
  return result;
}

std::optional<int64_t> eviction_time(const Pod& pod, const Node& node,
                                     const std::function<bool(std::string_view)>& counts) {
  std::optional<int64_t> earliest;
  if (node.spec() == nullptr || node.spec()->taints() == nullptr || pod.spec() == nullptr) return earliest;
  for (const auto* taint : *node.spec()->taints()) {
    if (str(taint->effect()) != "NoExecute" || !counts(str(taint->key()))) continue;
    bool tolerated = false;
    std::optional<int64_t> seconds;
    if (pod.spec()->tolerations() != nullptr) {
      for (const auto* toleration : *pod.spec()->tolerations()) {
        if (!model::tolerates(*toleration, *taint)) continue;
        tolerated = true;
        if (toleration->toleration_seconds().has_value()) {
          int64_t own = std::max<int64_t>(0, *toleration->toleration_seconds());
          seconds = std::min(seconds.value_or(own), own);
        }
      }
    }
    if (tolerated && !seconds) continue;                                          // for ever
    if (tolerated && *seconds > 0 && !taint->time_added().has_value()) continue;  // counted once the taint has its time
    int64_t at = tolerated ? (*seconds == 0 ? 0 : *taint->time_added() + *seconds) : 0;
    earliest = std::min(earliest.value_or(at), at);
  }
  return earliest;
}

}  // namespace gantry::controllers
