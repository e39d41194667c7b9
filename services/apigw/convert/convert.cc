#include "services/apigw/convert/convert.h"

#include <glog/logging.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "libs/model/served.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

struct Name {
  const char *stored, *view;
};

// core/v1 and events.k8s.io/v1
constexpr Name kEvent[] = {{"involvedObject", "regarding"},
                           {"message", "note"},
                           {"reportingComponent", "reportingController"},
                           {"source", "deprecatedSource"},
                           {"firstTimestamp", "deprecatedFirstTimestamp"},
                           {"lastTimestamp", "deprecatedLastTimestamp"},
                           {"count", "deprecatedCount"}};

void rename(json& tree, const char* from, const char* to) {
  auto it = tree.find(from);
  if (it == tree.end()) return;
  tree[to] = std::move(*it);
  tree.erase(from);
}

// What autoscaling/v1 has no field for travels in annotations.
constexpr Name kAnnotations[] = {{"metrics", "autoscaling.alpha.kubernetes.io/metrics"},
                                 {"behavior", "autoscaling.alpha.kubernetes.io/behavior"},
                                 {"conditions", "autoscaling.alpha.kubernetes.io/conditions"},
                                 {"currentMetrics", "autoscaling.alpha.kubernetes.io/current-metrics"}};

/// The first metric that v1 can say: utilization of cpu. end() if there is none.
json::iterator cpu_of(json& metrics, const char* values) {
  return std::find_if(metrics.begin(), metrics.end(), [&](const json& m) {
    return m.value("type", "") == "Resource" && m.contains("resource") && m["resource"].value("name", "") == "cpu" &&
           m["resource"].contains(values) && m["resource"][values].contains("averageUtilization");
  });
}

void to_v1(json& tree) {
  json annotations = json::object();
  const auto take = [&](const char* part, const char* list, const char* values, const char* percent) {
    auto& holder = tree[part];
    if (!holder.is_object() || !holder.contains(list)) return;
    auto& metrics = holder[list];
    if (auto cpu = cpu_of(metrics, values); cpu != metrics.end()) {
      holder[percent] = (*cpu)["resource"][values]["averageUtilization"];
      metrics.erase(cpu);
    }
  };
  take("spec", "metrics", "target", "targetCPUUtilizationPercentage");
  take("status", "currentMetrics", "current", "currentCPUUtilizationPercentage");
  for (const char* part : {"spec", "status"}) {
    if (!tree.contains(part) || !tree[part].is_object()) {
      tree.erase(part);
      continue;
    }
    for (const auto& [field, annotation] : kAnnotations) {
      auto it = tree[part].find(field);
      if (it == tree[part].end()) continue;
      if (!it->empty()) annotations[annotation] = it->dump();
      tree[part].erase(it);
    }
  }
  if (!annotations.empty()) tree["metadata"]["annotations"].update(annotations);
}

void to_v2(json& tree) {
  const auto give = [&](const char* part, const char* list, const char* values, const char* percent) {
    auto holder = tree.find(part);
    if (holder == tree.end() || !holder->contains(percent)) return;
    json target = {{"averageUtilization", (*holder)[percent]}};
    if (std::string_view(values) == "target") target["type"] = "Utilization";
    json metric = {{"type", "Resource"}, {"resource", {{"name", "cpu"}, {values, target}}}};
    auto& metrics = (*holder)[list];
    if (!metrics.is_array()) metrics = json::array();
    metrics.insert(metrics.begin(), metric);
    holder->erase(percent);
  };
  auto metadata = tree.find("metadata");
  if (metadata != tree.end() && metadata->contains("annotations")) {
    auto& annotations = (*metadata)["annotations"];
    for (const auto& [field, annotation] : kAnnotations) {
      auto it = annotations.find(annotation);
      if (it == annotations.end() || !it->is_string()) continue;
      auto value = json::parse(it->get<std::string>(), nullptr, false);
      if (value.is_discarded()) continue;
      const std::string_view name = field;
      tree[name == "metrics" || name == "behavior" ? "spec" : "status"][field] = std::move(value);
      annotations.erase(it);
    }
    if (annotations.empty()) metadata->erase("annotations");
    if (metadata->empty()) tree.erase(metadata);
  }
  give("spec", "metrics", "target", "targetCPUUtilizationPercentage");
  give("status", "currentMetrics", "current", "currentCPUUtilizationPercentage");
}

}  // namespace

const model::Kind* view_of(std::string_view token) {
  const model::Kind* kind = model::kind_by_token(token);
  return kind == nullptr || model::served(*kind).is_virtual || model::stored(*kind) ? nullptr : kind;
}

model::Object convert(const model::Object& object, const model::Kind& to) {
  const model::Kind& from = object.kind();
  if (!object || &from == &to || model::served(from).storage != model::served(to).storage) return object;
  json tree = model::to_tree(object.at(0));
  const bool to_view = model::stored(from);
  if (to.kind == "Event") {
    for (const auto& [stored, view] : kEvent) to_view ? rename(tree, stored, view) : rename(tree, view, stored);
  } else {
    to_view ? to_v1(tree) : to_v2(tree);
  }
  tree["apiVersion"] = to.api_version();
  auto bytes = model::from_tree(to, tree);
  if (!bytes.ok()) {  // an annotation that is not what it should be
    LOG(WARNING) << "cannot convert " << from.kind << " " << object.ns() << "/" << object.name() << ": "
                 << bytes.error().message;
    return model::Object(to, *model::from_tree(to, {{"metadata", tree["metadata"]}}), object.revision());
  }
  return model::Object(to, std::move(*bytes), object.revision());
}

std::string stored_selector(const model::Kind& view, std::string_view selector) {
  std::string out(selector);
  if (view.kind != "Event") return out;
  for (size_t at = 0; at < out.size();) {
    const std::string_view rest = std::string_view(out).substr(at);
    for (const auto& [stored, name] : kEvent) {
      const size_t size = std::string_view(name).size();
      if (!rest.starts_with(name) || (rest.size() > size && std::isalnum(static_cast<unsigned char>(rest[size]))))
        continue;
      out.replace(at, size, stored);
      break;
    }
    const size_t comma = out.find(',', at);
    at = comma == std::string::npos ? out.size() : comma + 1;
  }
  return out;
}

}  // namespace gantry::apigw
