#include "services/controllers/disruption/disruption.h"

#include "libs/model/json.h"
#include "libs/model/schema.h"
#include "libs/model/selector.h"
#include "libs/model/walk.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "schemas/api/policy_more_v1_generated.h"
#include "services/controllers/framework/percent.h"
#include "services/controllers/framework/report.h"

namespace gantry::controllers {

using api::core_v1::Pod;
using api::policy_v1::PodDisruptionBudget;
using model::str;
using nlohmann::json;

namespace {

bool selects(const model::Object& budget, const model::Object& pod) {
  const auto* spec = budget.as<PodDisruptionBudget>()->spec();
  if (spec == nullptr) return false;
  auto selector = model::LabelSelector::from(spec->selector());
  return selector.ok() && selector->matches(pod.meta()->labels());
}

int64_t replicas_of(const model::Object& object) {
  const std::string text = model::text_at(object, "spec.replicas");
  return text.empty() ? 1 : std::stoll(text);
}

/// Whose replicas the pod is one of: a Deployment, ReplicaSet, StatefulSet or ReplicationController.
Result<const model::Object*> scaled_owner(const View& view, const model::Object& pod) {
  const auto* owner = model::controller_of(pod.meta());
  auto error = [&](std::string_view kind) {
    return Error{
        .code = Code::kInvalid,
        .message = fmt::format("pod {}/{}: {} does not implement the scale subresource", pod.ns(), pod.name(), kind)};
  };
  for (;;) {
    const std::string_view kind = str(owner->kind());
    const model::Kind* found = model::Schema::get().by_api_version(str(owner->api_version()), kind);
    if (found == nullptr || !found->has_subresource("scale") || view.find_cache(found->resource) == nullptr)
      return error(kind);
    const model::Object* object = view.find(found->resource, pod.ns(), str(owner->name()));
    if (object == nullptr || object->uid() != str(owner->uid())) return nullptr;  // it is gone
    const auto* above = model::controller_of(object->meta());
    if (kind != "ReplicaSet" || above == nullptr || str(above->kind()) != "Deployment") return object;
    owner = above;
  }
}

Result<int64_t> expected_scale(const View& view, const std::vector<model::Object>& pods) {
  std::map<std::string, int64_t> scales;
  for (const model::Object& pod : pods) {
    if (model::controller_of(pod.meta()) == nullptr) continue;  // nobody's: not counted
    auto owner = scaled_owner(view, pod);
    if (!owner.ok()) return owner.error();
    if (*owner != nullptr) scales[std::string((*owner)->uid())] = replicas_of(**owner);
  }
  int64_t total = 0;
  for (const auto& [uid, replicas] : scales) total += replicas;
  return total;
}

struct Expected {
  int64_t pods = 0, healthy = 0;
};
Result<Expected> expectation(const View& view, const api::policy_v1::PodDisruptionBudgetSpec& spec,
                             const std::vector<model::Object>& pods) {
  const auto *most = spec.max_unavailable(), *least = spec.min_available();
  if (most == nullptr && least == nullptr) return Expected{};
  if (most == nullptr && least->int_value()) return Expected{static_cast<int64_t>(pods.size()), *least->int_value()};
  auto scale = expected_scale(view, pods);
  if (!scale.ok()) return scale.error();
  const auto share = [&](const auto* value) { return resolve_percent(value, static_cast<int32_t>(*scale), true, "0"); };
  return Expected{*scale, most != nullptr ? std::max<int64_t>(0, *scale - share(most)) : share(least)};
}

/// Evictions that were granted and whose pods still run, to be looked at again in time.
json disrupted_pods(const model::Object& budget, const json& status, const std::vector<model::Object>& pods,
                    int64_t now, Decision& decision) {
  json left = json::object();
  const json granted = status.value("disruptedPods", json::object());
  for (const model::Object& pod : pods) {
    auto it = granted.find(std::string(pod.name()));
    if (it == granted.end() || model::is_deleting(pod.meta())) continue;
    auto at = model::parse_time(it->get<std::string>());
    const int64_t until = (at.ok() ? *at / 1'000'000 : 0) + DisruptionController::kDeletionTimeout;
    if (until <= now) {
      decision.notes.push_back(
          {pod, "Warning", "NotDeleted",
           fmt::format("Pod was expected by PDB {}/{} to be deleted but it wasn't", budget.ns(), budget.name())});
      continue;
    }
    left[std::string(pod.name())] = *it;
    decision.wake(until * 1'000'000);
  }
  return left;
}

void set_allowed(json& status, const model::Object& budget, int64_t allowed, std::string_view reason,
                 std::string_view message, int64_t now) {
  status["disruptionsAllowed"] = allowed;
  set_condition(status, {"DisruptionAllowed", allowed > 0 ? "True" : "False", reason, message}, now);
  for (json& c : status["conditions"]) {
    if (c["type"] == "DisruptionAllowed") c["observedGeneration"] = budget.meta()->generation().value_or(0);
  }
}

}  // namespace

void DisruptionController::setup(View& view) {
  for (const std::string& resource : watches()) view.need(resource);
}

void DisruptionController::keys_for(const View& view, std::string_view resource, const projection::Change& change,
                                    std::vector<std::string>& keys) const {
  const model::Object& object = change.after ? change.after : change.before;
  if (resource == "poddisruptionbudgets") {
    keys.push_back(make_key(object));
    return;
  }
  if (resource != "pods" && change.before && change.after && replicas_of(change.before) == replicas_of(change.after))
    return;
  view.cache("poddisruptionbudgets").for_each_in(object.ns(), [&](const model::Object& budget) {
    if (resource != "pods" || (change.before && selects(budget, change.before)) ||
        (change.after && selects(budget, change.after)))
      keys.push_back(make_key(budget));
  });
}

Decision DisruptionController::decide(const View& view, const std::string& key, WallMicros now_micros,
                                      const Memory&) const {
  Decision decision;
  const model::Object* found = view.find("poddisruptionbudgets", key);
  if (found == nullptr || found->as<PodDisruptionBudget>()->spec() == nullptr) return decision;
  const model::Object budget = *found;
  const auto& spec = *budget.as<PodDisruptionBudget>()->spec();
  const int64_t now = now_micros / 1'000'000;
  std::vector<model::Object> pods;
  view.cache("pods").for_each_in(budget.ns(), [&](const model::Object& pod) {
    if (selects(budget, pod)) pods.push_back(pod);
  });
  decision.weight += pods.size();
  json status = status_of(budget);
  status["observedGeneration"] = budget.meta()->generation().value_or(0);
  auto expected = expectation(view, spec, pods);
  if (!expected.ok()) {
    if (!(find_condition(status, "DisruptionAllowed") != nullptr &&
          find_condition(status, "DisruptionAllowed")->value("reason", "") == "SyncFailed"))
      decision.notes.push_back(
          {budget, "Warning", "CalculateExpectedPodCountFailed",
           fmt::format("Failed to calculate the number of expected pods: {}", expected.error().message)});
    set_allowed(status, budget, 0, "SyncFailed", expected.error().message, now);
  } else {
    json disrupted = disrupted_pods(budget, status, pods, now, decision);
    int64_t healthy = 0;
    for (const model::Object& pod : pods) {
      healthy += !model::is_deleting(pod.meta()) && !disrupted.contains(std::string(pod.name())) &&
                 model::pod_ready(*pod.as<Pod>());
    }
    if (disrupted.empty()) {
      status.erase("disruptedPods");
    } else {
      status["disruptedPods"] = std::move(disrupted);
    }
    status["currentHealthy"] = healthy;
    status["desiredHealthy"] = expected->healthy;
    status["expectedPods"] = expected->pods;
    const int64_t allowed = expected->pods <= 0 ? 0 : std::max<int64_t>(0, healthy - expected->healthy);
    set_allowed(status, budget, allowed, allowed > 0 ? "SufficientPods" : "InsufficientPods", "", now);
  }
  // The gateway writes it, too.
  if (report_status(budget, status, decision)) decision.commands.back().command.revision = budget.revision();
  return decision;
}

}  // namespace gantry::controllers
