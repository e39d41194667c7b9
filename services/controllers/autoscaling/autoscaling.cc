#include "services/controllers/autoscaling/autoscaling.h"

#include "libs/model/json.h"
#include "libs/model/quantity.h"
#include "libs/model/schema.h"
#include "libs/model/selector.h"
#include "libs/model/walk.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/autoscaling/measure.h"
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

/// A resource metric, of whole pods or of one container of each.
struct Asked {
  std::string resource, container;  // container "": all
  const hpa::MetricTarget* target = nullptr;
};

std::string describe(const Asked& asked, bool utilization) {
  return fmt::format("{} {}resource{}", asked.resource, asked.container.empty() ? "" : "container ",
                     utilization ? " utilization (percentage of request)" : "");
}

struct Metric {
  Result<Proposal> proposal = Error{};
  std::string name;    // as conditions and events call it
  std::string reason;  // of a failure, e.g. FailedGetResourceMetric
  json status;
};

struct Step {
  const PodUsage& usage;
  const model::Object object;
  const hpa::HorizontalPodAutoscalerSpec& spec;
  const int64_t now;
  Decision decision;
  json status;
  std::vector<model::Object> pods;
  int32_t current = 0;

  void note(const char* type, std::string_view reason, std::string message) {
    decision.notes.push_back({object, type, std::string(reason), std::move(message)});
  }
  /// Tells of a failure once: while it lasts, the condition says so.
  void fail(std::string_view condition, std::string_view reason, const std::string& message) {
    if (set_condition(status, {condition, "False", reason, message}, now)) note("Warning", reason, message);
  }

  /// What the pod's containers request, and use.
  Status measure(ScaledPod& scaled, const Asked& asked, bool utilization) const {
    const bool cpu = asked.resource == "cpu";
    const auto* spec_of_pod = scaled.object.as<api::core_v1::Pod>()->spec();
    for (flatbuffers::uoffset_t i = 0; utilization && spec_of_pod != nullptr && spec_of_pod->containers() != nullptr &&
                                       i < spec_of_pod->containers()->size();
         ++i) {
      const auto* container = spec_of_pod->containers()->Get(i);
      if (!asked.container.empty() && str(container->name()) != asked.container) continue;
      const auto* requests = container->resources() == nullptr ? nullptr : container->resources()->requests();
      auto amount = model::Quantity::parse(str(model::lookup(requests, asked.resource)));
      if (!amount.ok() || amount->milli() == 0)
        return Error{.code = Code::kUnavailable,
                     .message = fmt::format("missing request for {} in container {} of Pod {}", asked.resource,
                                            str(container->name()), scaled.object.name())};
      scaled.requested += amount->milli();
    }
    const auto measured = usage.pod(scaled.object.uid());
    if (!measured) return Done{};
    PodUse use{0, measured->time / 1'000'000,
               std::chrono::duration_cast<std::chrono::seconds>(measured->window).count()};
    bool any = false;
    for (const auto& [name, used] : measured->containers) {
      if (!asked.container.empty() && name != asked.container) continue;
      use.milli += cpu ? static_cast<int64_t>(used.cpu_nanocores / 1'000'000)
                       : static_cast<int64_t>(used.memory_working_set) * 1000;
      any = true;
    }
    if (any) scaled.use = use;
    return Done{};
  }

  Tolerances tolerances() const {
    Tolerances t;
    auto read = [](const hpa::HPAScalingRules* rules, double& out) {
      if (rules == nullptr || rules->tolerance() == nullptr) return;
      if (auto q = model::Quantity::parse(str(rules->tolerance())); q.ok())
        out = static_cast<double>(q->milli()) / 1000;
    };
    if (spec.behavior() != nullptr)
      read(spec.behavior()->scale_up(), t.up), read(spec.behavior()->scale_down(), t.down);
    return t;
  }

  Metric resource_metric(const Asked& asked, const char* type) const {
    Metric metric;
    Target target;
    target.cpu = asked.resource == "cpu";
    if (asked.target != nullptr && asked.target->average_utilization()) {
      target.utilization = *asked.target->average_utilization();
    } else if (asked.target == nullptr) {
      target.utilization = 80;
    } else if (auto q = model::Quantity::parse(str(asked.target->average_value())); q.ok()) {
      target.average_milli = q->milli();
    }
    metric.name = describe(asked, target.utilization.has_value());
    metric.reason = asked.container.empty() ? "FailedGetResourceMetric" : "FailedGetContainerResourceMetric";
    const std::string what = target.utilization ? "utilization" : "usage";
    auto failed = [&](const std::string& why) {
      metric.proposal = Error{.code = Code::kUnavailable,
                              .message = fmt::format("failed to get {} {}: {}", asked.resource, what, why)};
      return metric;
    };
    if (!target.utilization && target.average_milli == 0) return failed("no target");
    std::vector<ScaledPod> scaled;
    for (const model::Object& pod : pods) {
      ScaledPod one{.object = pod, .use = {}, .requested = 0};
      if (auto done = measure(one, asked, target.utilization.has_value()); !done.ok())
        return failed(done.error().message);
      scaled.push_back(std::move(one));
    }
    auto proposal = propose(scaled, current, target, tolerances(), now);
    if (!proposal.ok()) return failed(proposal.error().message);
    json now_is = json::object();
    if (proposal->utilization) now_is["averageUtilization"] = *proposal->utilization;
    now_is["averageValue"] = target.cpu ? model::Quantity::from_milli(proposal->average_milli).to_string()
                                        : std::to_string(proposal->average_milli / 1000);
    json part = {{"name", asked.resource}, {"current", now_is}};
    if (!asked.container.empty()) part["container"] = asked.container;
    metric.status = {{"type", type}, {asked.container.empty() ? "resource" : "containerResource", part}};
    metric.proposal = *proposal;
    return metric;
  }

  Metric metric_of(const hpa::MetricSpec& wanted) const {
    const std::string type(str(wanted.type()));
    if (const auto* r = wanted.resource(); type == "Resource" && r != nullptr)
      return resource_metric({std::string(str(r->name())), "", r->target()}, "Resource");
    if (const auto* r = wanted.container_resource(); type == "ContainerResource" && r != nullptr)
      return resource_metric({std::string(str(r->name())), std::string(str(r->container())), r->target()},
                             "ContainerResource");
    Metric metric;
    metric.reason = fmt::format("FailedGet{}Metric", type);
    metric.proposal = Error{.code = Code::kUnavailable,
                            .message = fmt::format("unable to get {} metric: no metrics API serves it", type)};
    return metric;
  }

  /// The largest proposal; nullopt (and conditions) when the metrics do not say enough.
  std::optional<std::pair<int32_t, std::string>> compute() {
    std::vector<Metric> metrics;
    if (spec.metrics() == nullptr || spec.metrics()->size() == 0) {
      metrics.push_back(resource_metric({"cpu", "", nullptr}, "Resource"));
    } else {
      for (const auto* wanted : *spec.metrics()) metrics.push_back(metric_of(*wanted));
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

Decision AutoscalingController::decide(const View& view, const std::string& key, WallMicros now, const Memory&) const {
  const model::Object* found = view.find("horizontalpodautoscalers", key);
  if (found == nullptr || model::is_deleting(found->meta())) return {};
  const auto* spec = found->as<HorizontalPodAutoscaler>()->spec();
  if (spec == nullptr || spec->scale_target_ref() == nullptr) return {};
  Step step{.usage = usage_,
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
  report_status(step.object, step.status, step.decision);
  return std::move(step.decision);
}

}  // namespace gantry::controllers
