#include "services/controllers/autoscaling/metrics.h"

#include "libs/model/json.h"
#include "libs/model/quantity.h"
#include "libs/model/schema.h"
#include "libs/model/selector.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/controllers/autoscaling/queues.h"

namespace gantry::controllers {
namespace {

using model::str;
using nlohmann::json;
namespace hpa = api::autoscaling_v2;

/// A resource metric, of whole pods or of one container of each.
struct Asked {
  std::string resource, container;  // container "": all
  const hpa::MetricTarget* target = nullptr;
};

int64_t milli_of(const flatbuffers::String* text) {
  auto quantity = model::Quantity::parse(str(text));
  return quantity.ok() ? quantity->milli() : 0;
}

std::string text_of(int64_t milli) { return model::Quantity::from_milli(milli).to_string(); }

Tolerances tolerances(const hpa::HorizontalPodAutoscalerSpec& spec) {
  Tolerances t;
  auto read = [](const hpa::HPAScalingRules* rules, double& out) {
    if (rules == nullptr || rules->tolerance() == nullptr) return;
    if (auto q = model::Quantity::parse(str(rules->tolerance())); q.ok()) out = static_cast<double>(q->milli()) / 1000;
  };
  if (spec.behavior() != nullptr) read(spec.behavior()->scale_up(), t.up), read(spec.behavior()->scale_down(), t.down);
  return t;
}

Metric failed(Metric metric, const std::string& message) {
  metric.proposal = Error{.code = Code::kUnavailable, .message = message};
  return metric;
}

/// What the pod's containers request, and use.
Status measure(const Scene& scene, ScaledPod& scaled, const Asked& asked, bool utilization) {
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
  const auto measured = scene.measurements.pod(scaled.object.uid());
  if (!measured) return Done{};
  PodUse use{0, measured->time / 1'000'000, std::chrono::duration_cast<std::chrono::seconds>(measured->window).count()};
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

Metric resource_metric(const Scene& scene, const Asked& asked, const char* type) {
  Metric metric;
  Target target;
  target.cpu = asked.resource == "cpu";
  if (asked.target != nullptr && asked.target->average_utilization()) {
    target.utilization = *asked.target->average_utilization();
  } else if (asked.target == nullptr) {
    target.utilization = 80;
  } else {
    target.average_milli = milli_of(asked.target->average_value());
  }
  const bool utilization = target.utilization.has_value();
  metric.name = fmt::format("{} {}resource{}", asked.resource, asked.container.empty() ? "" : "container ",
                            utilization ? " utilization (percentage of request)" : "");
  metric.reason = asked.container.empty() ? "FailedGetResourceMetric" : "FailedGetContainerResourceMetric";
  auto sorry = [&](const std::string& why) {
    return failed(std::move(metric),
                  fmt::format("failed to get {} {}: {}", asked.resource, utilization ? "utilization" : "usage", why));
  };
  if (!utilization && target.average_milli == 0) return sorry("no target");
  std::vector<ScaledPod> scaled;
  for (const model::Object& pod : scene.pods) {
    ScaledPod one{.object = pod, .use = {}, .requested = 0};
    if (auto done = measure(scene, one, asked, utilization); !done.ok()) return sorry(done.error().message);
    scaled.push_back(std::move(one));
  }
  auto proposal = propose(scaled, scene.current, target, tolerances(scene.spec), scene.now);
  if (!proposal.ok()) return sorry(proposal.error().message);
  json now_is = json::object();
  if (proposal->utilization) now_is["averageUtilization"] = *proposal->utilization;
  now_is["averageValue"] =
      target.cpu ? text_of(proposal->average_milli) : std::to_string(proposal->average_milli / 1000);
  json part = {{"name", asked.resource}, {"current", now_is}};
  if (!asked.container.empty()) part["container"] = asked.container;
  metric.status = {{"type", type}, {asked.container.empty() ? "resource" : "containerResource", part}};
  metric.proposal = *proposal;
  return metric;
}

/// Which series of a pushed metric are meant.
class Series {
 public:
  explicit Series(const hpa::MetricIdentifier& metric) {
    auto selector = model::LabelSelector::from(metric.selector());
    if (metric.selector() != nullptr && selector.ok()) selector_ = std::move(*selector);
  }
  bool matches(const usage::Sample& sample) const { return !selector_ || selector_->matches(sample.label_table()); }
  std::string to_string() const { return selector_ ? selector_->to_string() : ""; }

 private:
  std::optional<model::LabelSelector> selector_;
};

template <typename Source>
json as_json(const char* type, const Source* table) {
  const auto* known = model::Schema::get().type("gantry.api." + std::string(type));
  return table == nullptr || known == nullptr
             ? json::object()
             : json::parse(model::to_json(*known, reinterpret_cast<const flatbuffers::Table*>(table)));
}

json identifier(const hpa::MetricIdentifier* metric) { return as_json("autoscaling_v2.MetricIdentifier", metric); }

Metric pods_metric(const Scene& scene, const hpa::PodsMetricSource& source) {
  Metric metric;
  const std::string name(str(source.metric()->name()));
  metric.name = "pods metric " + name;
  metric.reason = "FailedGetPodsMetric";
  const Series series(*source.metric());
  std::map<std::string, PodUse, std::less<>> uses;
  scene.measurements.pushed(scene.ns, name, [&](const usage::Sample& sample) {
    if (sample.kind != "Pod" || !series.matches(sample)) return;
    PodUse& use = uses[sample.object];
    use.milli += sample.milli;
    use.time = sample.time / 1'000'000;
  });
  const Target target{.cpu = false, .utilization = {}, .average_milli = milli_of(source.target()->average_value())};
  std::vector<ScaledPod> scaled;
  for (const model::Object& pod : scene.pods) {
    ScaledPod one{.object = pod, .use = {}, .requested = 0};
    if (auto use = uses.find(pod.name()); use != uses.end()) one.use = use->second;
    scaled.push_back(std::move(one));
  }
  auto proposal = target.average_milli <= 0
                      ? Result<Proposal>(Error{.code = Code::kUnavailable, .message = "no target"})
                      : propose(scaled, scene.current, target, tolerances(scene.spec), scene.now);
  if (!proposal.ok())
    return failed(std::move(metric),
                  fmt::format("failed to get pods metric value: unable to get metric {}: {}", name,
                              uses.empty() ? "no metrics were pushed for it" : proposal.error().message));
  metric.status = {
      {"type", "Pods"},
      {"pods",
       {{"metric", identifier(source.metric())}, {"current", {{"averageValue", text_of(proposal->average_milli)}}}}}};
  metric.proposal = *proposal;
  return metric;
}

/// What Object and External metrics have in common: one number for the whole target.
void whole(const Scene& scene, Metric& metric, const hpa::MetricTarget& target, int64_t value, json& current) {
  const bool per_pod = target.average_value() != nullptr;
  int32_t ready = 0;
  for (const model::Object& pod : scene.pods) ready += model::pod_ready(*pod.as<api::core_v1::Pod>());
  auto proposal = propose_whole({.milli = value,
                                 .target_milli = milli_of(per_pod ? target.average_value() : target.value()),
                                 .per_pod = per_pod,
                                 .current = scene.current,
                                 .reported = scene.reported,
                                 .ready = ready},
                                tolerances(scene.spec));
  if (proposal.ok()) current = {{per_pod ? "averageValue" : "value", text_of(proposal->average_milli)}};
  metric.proposal = std::move(proposal);
}

Metric object_metric(const Scene& scene, const hpa::ObjectMetricSource& source) {
  Metric metric;
  const std::string name(str(source.metric()->name()));
  const auto& described = *source.described_object();
  metric.name = fmt::format("{} metric {}", str(described.kind()), name);
  metric.reason = "FailedGetObjectMetric";
  const Series series(*source.metric());
  std::optional<int64_t> value;
  scene.measurements.pushed(scene.ns, name, [&](const usage::Sample& sample) {
    if (sample.kind == str(described.kind()) && sample.object == str(described.name()) && series.matches(sample))
      value = value.value_or(0) + sample.milli;
  });
  if (!value)
    return failed(std::move(metric),
                  fmt::format("failed to get object metric value: unable to get metric {}: {} on {} {}/no metrics were "
                              "pushed for it",
                              name, str(described.kind()), scene.ns, str(described.name())));
  json current;
  whole(scene, metric, *source.target(), *value, current);
  metric.status = {{"type", "Object"},
                   {"object",
                    {{"metric", identifier(source.metric())},
                     {"describedObject", as_json("autoscaling_v2.CrossVersionObjectReference", &described)},
                     {"current", current}}}};
  return metric;
}

Metric external_metric(const Scene& scene, const hpa::ExternalMetricSource& source) {
  Metric metric;
  const std::string name(str(source.metric()->name()));
  const Series series(*source.metric());
  metric.name = fmt::format("external metric {}({})", name, series.to_string());
  metric.reason = "FailedGetExternalMetric";
  std::optional<int64_t> value;
  const bool own = name == kStreamMessages || name == kConsumerPending;
  scene.measurements.pushed(own ? "" : scene.ns, name, [&](const usage::Sample& sample) {
    if (sample.kind.empty() && series.matches(sample)) value = value.value_or(0) + sample.milli;
  });
  if (!value)
    return failed(
        std::move(metric),
        fmt::format("failed to get external metric {}: unable to get external metric {}/{}/{}: {}", name, scene.ns,
                    name, series.to_string(), own ? "no such stream or consumer" : "no metrics were pushed for it"));
  json current;
  whole(scene, metric, *source.target(), *value, current);
  metric.status = {{"type", "External"}, {"external", {{"metric", identifier(source.metric())}, {"current", current}}}};
  return metric;
}

}  // namespace

Metric read_metric(const Scene& scene, const hpa::MetricSpec* wanted) {
  if (wanted == nullptr) return resource_metric(scene, {"cpu", "", nullptr}, "Resource");
  const std::string type(str(wanted->type()));
  if (const auto* r = wanted->resource(); type == "Resource" && r != nullptr)
    return resource_metric(scene, {std::string(str(r->name())), "", r->target()}, "Resource");
  if (const auto* r = wanted->container_resource(); type == "ContainerResource" && r != nullptr)
    return resource_metric(scene, {std::string(str(r->name())), std::string(str(r->container())), r->target()},
                           "ContainerResource");
  auto whole_one = [](const auto* source) {
    return source != nullptr && source->metric() != nullptr && source->target() != nullptr;
  };
  if (type == "Pods" && whole_one(wanted->pods())) return pods_metric(scene, *wanted->pods());
  if (type == "Object" && whole_one(wanted->object()) && wanted->object()->described_object() != nullptr)
    return object_metric(scene, *wanted->object());
  if (type == "External" && whole_one(wanted->external())) return external_metric(scene, *wanted->external());
  Metric metric;
  metric.reason = "InvalidMetricSourceType";
  return failed(std::move(metric), fmt::format("unknown metric source type \"{}\"", type));
}

}  // namespace gantry::controllers
