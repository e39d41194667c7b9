#include "services/controllers/autoscaling/autoscaling.h"

#include "libs/model/json.h"
#include "libs/model/schema.h"
#include "libs/model/selector.h"
#include "libs/model/walk.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/framework/commands.h"
#include "services/controllers/framework/report.h"

namespace gantry::controllers {

using api::autoscaling_v2::HorizontalPodAutoscaler;
using model::str;
using nlohmann::json;
namespace hpa = api::autoscaling_v2;

namespace {

constexpr WallMicros kLookAgain = 1'000'000;

int32_t replicas_of(const model::Object& object) {
  const std::string text = model::text_at(object, "spec.replicas");
  return text.empty() ? 1 : static_cast<int32_t>(std::stoll(text));
}

const model::Kind* kind_of(const hpa::CrossVersionObjectReference& reference) {
  return model::Schema::get().by_api_version(str(reference.api_version()), str(reference.kind()));
}

std::optional<model::LabelSelector> selector_of(const model::Object& target) {
  const auto found = model::find(target, "spec.selector");
  if (!found.present()) return std::nullopt;
  if (found.field->map)
    return model::LabelSelector::from_map(found.parent->GetPointer<const model::Labels*>(found.field->slot));
  auto selector = model::LabelSelector::from(reinterpret_cast<const api::meta_v1::LabelSelector*>(found.table()));
  return selector.ok() ? std::optional(std::move(*selector)) : std::nullopt;
}

bool same_but_for_numbers(const model::Object& object, json status) {
  json before = status_of(object);
  before.erase("currentMetrics"), status.erase("currentMetrics");
  return before == status;
}

struct Step {
  const Measurements& measurements;
  const model::Object object;
  const hpa::HorizontalPodAutoscalerSpec& spec;
  const int64_t now;
  Decision decision;
  json status;
  std::vector<model::Object> pods;
  int32_t current = 0, reported = 0;

  void note(const char* type, std::string_view reason, std::string message) {
    decision.notes.push_back({object, type, std::string(reason), std::move(message)});
  }
  /// Tells of a failure once: while it lasts, the condition says so.
  void fail(std::string_view condition, std::string_view reason, const std::string& message) {
    if (set_condition(status, {condition, "False", reason, message}, now)) note("Warning", reason, message);
  }

  /// The largest proposal; nullopt (and conditions) when the metrics do not say enough.
  std::optional<std::pair<int32_t, std::string>> compute() {
    const Scene scene{.measurements = measurements,
                      .ns = object.ns(),
                      .spec = spec,
                      .pods = pods,
                      .current = current,
                      .reported = reported,
                      .now = now};
    std::vector<Metric> metrics;
    if (spec.metrics() == nullptr || spec.metrics()->size() == 0) {
      metrics.push_back(read_metric(scene, nullptr));
    } else {
      for (const auto* wanted : *spec.metrics()) metrics.push_back(read_metric(scene, wanted));
    }
    std::optional<std::pair<int32_t, std::string>> best;
    const Metric* failed = nullptr;
    json current_metrics = json::array();
    for (const Metric& metric : metrics) {
      if (!metric.proposal.ok()) {
        if (failed == nullptr) failed = &metric;
        continue;
      }
      current_metrics.push_back(metric.status);
      if (!best || metric.proposal->replicas > best->first) best = {metric.proposal->replicas, metric.name};
    }
    if (current_metrics.empty()) {
      status.erase("currentMetrics");
    } else {
      status["currentMetrics"] = current_metrics;
    }
    // What is not known may ask for more: it keeps the others from asking for less.
    if (failed != nullptr && (!best || best->first < current)) {
      fail("ScalingActive", failed->reason,
           "the HPA was unable to compute the replica count: " + failed->proposal.error().message);
      return std::nullopt;
    }
    if (best)
      set_condition(status,
                    {"ScalingActive", "True", "ValidMetricFound",
                     "the HPA was able to successfully calculate a replica count from " + best->second},
                    now);
    return best;
  }

  void rescale(const model::Object& target, int32_t wanted, const std::string& reason) {
    const std::string done = fmt::format("the HPA controller was able to update the target scale to {}", wanted);
    set_condition(status, {"AbleToScale", "True", "SucceededRescale", done}, now);
    status["lastScaleTime"] = model::format_time(now);
    decision.commands.push_back(
        {patch(target, fmt::format(R"({{"spec":{{"replicas":{}}}}})", wanted)),
         projection::Note{object, "Normal", "SuccessfulRescale",
                          fmt::format("New size: {}; reason: {}", wanted, reason)},
         projection::Note{object, "Warning", "FailedRescale",
                          fmt::format("New size: {}; reason: {}; error: {{}}", wanted, reason)}});
  }

  void run(const model::Object& target, ScalingRecord& record) {
    current = replicas_of(target);
    if (const std::string text = model::text_at(target, "status.replicas"); !text.empty())
      reported = static_cast<int32_t>(std::stoll(text));
    const int32_t min = spec.min_replicas().value_or(1), max = spec.max_replicas().value_or(1);
    set_condition(
        status,
        {"AbleToScale", "True", "SucceededGetScale", "the HPA controller was able to get the target's current scale"},
        now);
    int32_t wanted = current;
    std::string reason;
    if (current == 0 && min != 0) {
      set_condition(status,
                    {"ScalingActive", "False", "ScalingDisabled",
                     "scaling is disabled since the replica count of the target is zero"},
                    now);
    } else if (current > max) {
      wanted = max, reason = "Current number of replicas above Spec.MaxReplicas";
    } else if (current < min) {
      wanted = min, reason = "Current number of replicas below Spec.MinReplicas";
    } else if (auto best = compute()) {
      Bounded bounded = bound(spec.behavior(), current, best->first, min, max, record, now);
      wanted = bounded.replicas;
      reason = wanted > current ? best->second + " above target" : "All metrics below target";
      set_condition(status, {"AbleToScale", "True", bounded.able_reason, bounded.able_message}, now);
      set_condition(status,
                    {"ScalingLimited", bounded.limited ? "True" : "False", bounded.limit_reason, bounded.limit_message},
                    now);
    }
    if (wanted != current) {
      rescale(target, wanted, reason);
      note_scaling(record, current, wanted, now);
    }
    put_count(status, "currentReplicas", current);
    status["desiredReplicas"] = wanted;
  }
};

}  // namespace

void AutoscalingController::setup(View& view) {
  for (const std::string& resource : watches()) view.need(resource);
  view.need("pods");
}

void AutoscalingController::keys_for(const View& view, std::string_view resource, const projection::Change& change,
                                     std::vector<std::string>& keys) const {
  const model::Object& object = change.after ? change.after : change.before;
  if (resource == "horizontalpodautoscalers") {
    if (!change.after) history_.forget(change.before.uid());
    keys.push_back(make_key(object));
    return;
  }
  if (change.before && change.after && replicas_of(change.before) == replicas_of(change.after)) return;
  view.cache("horizontalpodautoscalers").for_each_in(object.ns(), [&](const model::Object& o) {
    const auto* spec = o.as<HorizontalPodAutoscaler>()->spec();
    const auto* reference = spec == nullptr ? nullptr : spec->scale_target_ref();
    if (reference != nullptr && str(reference->name()) == object.name() && kind_of(*reference) == &object.kind())
      keys.push_back(make_key(o));
  });
}

std::vector<std::string> AutoscalingController::keys_of_metric(const View& view, const std::string& ns,
                                                               const std::string& name) {
  std::vector<std::string> keys;
  auto look = [&](const model::Object& o) {
    const auto* spec = o.as<HorizontalPodAutoscaler>()->spec();
    if (spec == nullptr || spec->metrics() == nullptr) return;
    for (const auto* metric : *spec->metrics()) {
      auto names = [&](const auto* source) {
        return source != nullptr && source->metric() != nullptr && str(source->metric()->name()) == name;
      };
      if (!names(metric->pods()) && !names(metric->object()) && !names(metric->external())) continue;
      keys.push_back(make_key(o));
      return;
    }
  };
  const auto& all = view.cache("horizontalpodautoscalers");
  ns.empty() ? all.for_each(look) : all.for_each_in(ns, look);
  return keys;
}

Decision AutoscalingController::decide(const View& view, const std::string& key, WallMicros now, const Memory&) const {
  const model::Object* found = view.find("horizontalpodautoscalers", key);
  if (found == nullptr || model::is_deleting(found->meta())) return {};
  const auto* spec = found->as<HorizontalPodAutoscaler>()->spec();
  if (spec == nullptr || spec->scale_target_ref() == nullptr) return {};
  Step step{.measurements = measurements_,
            .object = *found,
            .spec = *spec,
            .now = now / 1'000'000,
            .decision = {},
            .status = status_of(*found),
            .pods = {}};
  const auto& reference = *spec->scale_target_ref();
  const model::Kind* kind = kind_of(reference);
  const bool scalable = kind != nullptr && kind->has_subresource("scale") && view.find_cache(kind->resource) != nullptr;
  const model::Object* target = scalable ? view.find(kind->resource, found->ns(), str(reference.name())) : nullptr;
  auto selector = target == nullptr ? std::nullopt : selector_of(*target);
  if (!selector) {
    step.fail("AbleToScale", "FailedGetScale",
              fmt::format("the HPA controller was unable to get the target's current scale: {} \"{}\" not found",
                          kind == nullptr       ? std::string(str(reference.kind()))
                          : kind->group.empty() ? kind->resource
                                                : kind->resource + "." + kind->group,
                          str(reference.name())));
  } else {
    view.cache("pods").for_each_in(found->ns(), [&](const model::Object& pod) {
      if (selector->matches(pod.meta()->labels())) step.pods.push_back(pod);
    });
    step.decision.weight += step.pods.size();
    step.run(*target, history_.of(found->uid()));
    step.decision.wake(now + kLookAgain);
  }
  // Metrics may come faster than anybody reads them: their numbers alone are told once a second.
  ScalingRecord& record = history_.of(found->uid());
  if (now - record.told < kLookAgain && step.decision.commands.empty() && same_but_for_numbers(*found, step.status))
    return std::move(step.decision);
  if (report_status(step.object, step.status, step.decision)) record.told = now;
  return std::move(step.decision);
}

}  // namespace gantry::controllers
