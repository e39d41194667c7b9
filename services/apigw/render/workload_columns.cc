// Cells of what runs pods: templates, StatefulSets, DaemonSets, Jobs, CronJobs, autoscalers, disruption budgets.
#include <fmt/format.h>

#include "libs/model/selector.h"
#include "libs/model/workload.h"
#include "services/apigw/render/columns.h"
#include "services/apigw/render/paths.h"
#include "services/apigw/render/render.h"

namespace gantry::apigw {
namespace {

using model::Object;
using nlohmann::json;
using Labels = flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>;

std::string template_path(const Object& o) { return std::string(model::pod_template_path(o.kind().resource)); }

json containers(const Object& o, const char* field) {
  std::string out;
  paths::each(o, template_path(o) + ".spec.containers", [&](const std::string& at) {
    out.append(out.empty() ? "" : ",").append(paths::text(o, at + "." + field));
  });
  return out;
}
json template_containers(const Object& o, WallMicros) { return containers(o, "name"); }
json template_images(const Object& o, WallMicros) { return containers(o, "image"); }

const Labels* labels_at(const Object& o, const std::string& path) {
  auto found = model::find(o, path);
  return found.present() ? found.parent->GetPointer<const Labels*>(found.field->slot) : nullptr;
}
json template_labels(const Object& o, WallMicros) {
  return join_labels(labels_at(o, template_path(o) + ".metadata.labels"));
}
json node_selector(const Object& o, WallMicros) {
  return join_labels(labels_at(o, template_path(o) + ".spec.nodeSelector"));
}

json selector_at(const Object& o, const std::string& path) {
  const auto* table = model::find(o, path).table();
  if (table == nullptr) return "<none>";
  auto selector = model::LabelSelector::from(reinterpret_cast<const api::meta_v1::LabelSelector*>(table));
  if (!selector.ok()) return "<error>";
  auto text = selector->to_string();
  return text.empty() ? "<none>" : text;
}
json label_selector(const Object& o, WallMicros) {
  if (o.kind().resource == "replicationcontrollers") return join_labels(labels_at(o, "spec.selector"));
  return selector_at(o, o.kind().resource == "cronjobs" ? "spec.jobTemplate.spec.selector" : "spec.selector");
}
json pod_selector(const Object& o, WallMicros) { return selector_at(o, "spec.podSelector"); }

json statefulset_ready(const Object& o, WallMicros) {
  return fmt::format("{}/{}", paths::number(o, "status.readyReplicas"), paths::number(o, "spec.replicas", 1));
}

json revision_controller(const Object& o, WallMicros) {
  const auto* owners = o.meta() ? o.meta()->owner_references() : nullptr;
  if (owners == nullptr) return "<none>";
  for (const auto* owner : *owners) {
    if (!owner->controller().value_or(false)) continue;
    std::string kind(model::str(owner->kind()));
    for (char& c : kind) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    auto version = model::str(owner->api_version());
    auto slash = version.find('/');
    if (slash != std::string_view::npos) kind.append(".").append(version.substr(0, slash));
    return fmt::format("{}/{}", kind, model::str(owner->name()));
  }
  return "<none>";
}
json revision_number(const Object& o, WallMicros) { return std::to_string(paths::number(o, "revision")); }

json job_status(const Object& o, WallMicros) {
  for (const char* end : {"Complete", "Failed"}) {
    if (paths::is_true(o, end)) return end;
  }
  if (o.meta() && o.meta()->deletion_timestamp()) return "Terminating";
  for (const char* state : {"Suspended", "FailureTarget", "SuccessCriteriaMet"}) {
    if (paths::is_true(o, state)) return state;
  }
  return "Running";
}
json job_completions(const Object& o, WallMicros) {
  const auto succeeded = paths::number(o, "status.succeeded");
  if (paths::has(o, "spec.completions")) return fmt::format("{}/{}", succeeded, paths::number(o, "spec.completions"));
  const auto parallelism = paths::number(o, "spec.parallelism");
  return parallelism > 1 ? fmt::format("{}/1 of {}", succeeded, parallelism) : fmt::format("{}/1", succeeded);
}
json job_duration(const Object& o, WallMicros now) {
  const auto at = [&](const char* path) -> flatbuffers::Optional<int64_t> {
    auto found = model::find(o, path);
    if (!found.present()) return flatbuffers::nullopt;
    return found.parent->GetField<int64_t>(found.field->slot, 0);
  };
  const auto start = at("status.startTime"), end = at("status.completionTime");
  if (!start) return "";
  return human_duration((end ? *end : now / 1'000'000) - *start);
}

json cronjob_time_zone(const Object& o, WallMicros) { return paths::text_or(o, "spec.timeZone", "<none>"); }
json cronjob_suspend(const Object& o, WallMicros) {
  return paths::text(o, "spec.suspend") == "true" ? "True" : "False";
}
json cronjob_active(const Object& o, WallMicros) { return paths::count(o, "status.active"); }
json cronjob_last_schedule(const Object& o, WallMicros now) {
  auto found = model::find(o, "status.lastScheduleTime");
  if (!found.present()) return "<none>";
  return human_duration(now / 1'000'000 - found.parent->GetField<int64_t>(found.field->slot, 0));
}

json hpa_reference(const Object& o, WallMicros) {
  return paths::text(o, "spec.scaleTargetRef.kind") + "/" + paths::text(o, "spec.scaleTargetRef.name");
}
json hpa_min(const Object& o, WallMicros) { return paths::text_or(o, "spec.minReplicas", "<unset>"); }

/// One metric as `current/target`; both stand in a struct named after the metric's type.
std::string hpa_metric(const Object& o, const std::string& spec, const std::string& status) {
  const auto type = paths::text(o, spec + ".type");
  if (type.empty()) return "<unknown>";
  std::string part = type;
  part[0] = static_cast<char>(std::tolower(static_cast<unsigned char>(part[0])));
  const auto target = spec + "." + part + ".target", current = status + "." + part + ".current";
  const bool known = paths::has(o, status + "." + part);
  const auto now = [&](const char* field) {
    return known ? paths::text_or(o, current + field, "<unknown>") : "<unknown>";
  };
  const bool resource = type == "Resource" || type == "ContainerResource";
  const auto name = resource ? paths::text(o, spec + "." + part + ".name") + ": " : "";
  if (paths::has(o, target + ".averageValue")) {
    const char* suffix = type == "External" || type == "Object" ? " (avg)" : "";
    return fmt::format("{}{}/{}{}", name, now(".averageValue"), paths::text(o, target + ".averageValue"), suffix);
  }
  if (!resource) return fmt::format("{}/{}", now(".value"), paths::text(o, target + ".value"));
  const auto percent = now(".averageUtilization");
  const auto wanted = paths::text(o, target + ".averageUtilization");
  return fmt::format("{}{}/{}", name, percent == "<unknown>" ? percent : percent + "%",
                     wanted.empty() ? "<auto>" : wanted + "%");
}
json hpa_targets(const Object& o, WallMicros) {
  std::string out;
  size_t n = 0;
  paths::each(o, "spec.metrics", [&](const std::string& at) {
    if (n++ >= 2) return;
    auto status = "status.currentMetrics" + at.substr(at.find('['));
    out.append(out.empty() ? "" : ", ").append(hpa_metric(o, at, status));
  });
  if (n == 0) return "<none>";
  return n > 2 ? fmt::format("{} + {} more...", out, n - 2) : out;
}

json pdb_min(const Object& o, WallMicros) { return paths::text_or(o, "spec.minAvailable", "N/A"); }
json pdb_max(const Object& o, WallMicros) { return paths::text_or(o, "spec.maxUnavailable", "N/A"); }

json priority_value(const Object& o, WallMicros) { return paths::number(o, "value"); }
json global_default(const Object& o, WallMicros) { return paths::text(o, "globalDefault") == "true"; }

json component_condition(const Object& o, const char* field) {
  std::string out;
  paths::each(o, "conditions", [&](const std::string& at) {
    if (paths::text(o, at + ".type") == "Healthy") out = paths::text(o, at + "." + field);
  });
  return out;
}
json component_status(const Object& o, WallMicros) {
  const auto status = component_condition(o, "status");
  return status == "True" ? "Healthy" : status == "False" ? "Unhealthy" : "Unknown";
}
json component_message(const Object& o, WallMicros) { return component_condition(o, "message"); }
json component_error(const Object& o, WallMicros) { return component_condition(o, "error"); }

}  // namespace

const Columns& workload_columns() {
#define COLUMN(f) \
  { #f, f }
  // clang-format off
  static const Columns kColumns = {
      COLUMN(template_containers), COLUMN(template_images), COLUMN(template_labels), COLUMN(node_selector),
      COLUMN(label_selector), COLUMN(pod_selector), COLUMN(statefulset_ready), COLUMN(revision_controller),
      COLUMN(revision_number), COLUMN(job_status), COLUMN(job_completions), COLUMN(job_duration), COLUMN(cronjob_time_zone),
      COLUMN(cronjob_suspend), COLUMN(cronjob_active), COLUMN(cronjob_last_schedule), COLUMN(hpa_reference),
      COLUMN(hpa_min), COLUMN(hpa_targets), COLUMN(pdb_min), COLUMN(pdb_max), COLUMN(priority_value), COLUMN(global_default),
      COLUMN(component_status), COLUMN(component_message), COLUMN(component_error)};
  // clang-format on
#undef COLUMN
  return kColumns;
}

}  // namespace gantry::apigw
