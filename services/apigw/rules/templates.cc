// Kinds with a pod template, beside Deployments and ReplicaSets: what is added to and demanded of the template and its
// selector.
#include <fmt/format.h>

#include "libs/model/walk.h"
#include "schemas/api/apps_v1_generated.h"
#include "services/apigw/rules/kinds.h"
#include "services/apigw/rules/tables.h"

namespace gantry::apigw {
namespace {

using model::Object;

const char* template_of(const Object& object) {
  static constexpr std::pair<std::string_view, const char*> kTemplates[] = {
      {"statefulsets", "spec.template"}, {"daemonsets", "spec.template"},
      {"jobs", "spec.template"},         {"replicationcontrollers", "spec.template"},
      {"podtemplates", "template"},      {"cronjobs", "spec.jobTemplate.spec.template"}};
  for (const auto& [resource, path] : kTemplates) {
    if (resource == object.kind().resource) return path;
  }
  return nullptr;
}

const api::core_v1::PodTemplateSpec* template_at(const Object& object, std::string_view path) {
  return reinterpret_cast<const api::core_v1::PodTemplateSpec*>(model::find(object, path).table());
}

// A Job finds its pods by its own uid, unless the user says how.
void default_job(model::Draft& draft, const Object& given) {
  const auto absent = [&](const char* path) { return !model::find(given, path).present(); };
  if (absent("spec")) return;
  if (absent("spec.parallelism")) draft.set("spec.parallelism", 1);
  if (absent("spec.completions") && absent("spec.parallelism")) draft.set("spec.completions", 1);
  if (absent("spec.backoffLimit")) draft.set("spec.backoffLimit", absent("spec.backoffLimitPerIndex") ? 6 : 2147483647);
  if (absent("spec.podReplacementPolicy"))
    draft.set("spec.podReplacementPolicy", absent("spec.podFailurePolicy") ? "TerminatingOrFailed" : "Failed");
  if (!absent("spec.selector") || model::text_at(given, "spec.manualSelector") == "true") return;
  const Object prepared = draft.build();  // has its uid and name by now
  const std::string uid(prepared.uid()), name(prepared.name());
  if (uid.empty() || absent("spec.template")) return;
  draft.set("spec.selector.matchLabels[batch.kubernetes.io/controller-uid]", uid);
  for (const char* prefix : {"", "batch.kubernetes.io/"}) {
    draft.set(fmt::format("spec.template.metadata.labels[{}controller-uid]", prefix), uid);
    draft.set(fmt::format("spec.template.metadata.labels[{}job-name]", prefix), name);
  }
}

void default_strategy(model::Draft& draft, const Object& given) {
  if (!model::find(given, "spec").present()) return;
  const bool daemons = given.kind().resource == "daemonsets";
  const auto type = model::text_at(given, "spec.updateStrategy.type");
  if (type.empty()) draft.set("spec.updateStrategy.type", "RollingUpdate");
  if (!type.empty() && type != "RollingUpdate") return;
  const auto absent = [&](const char* path) { return !model::find(given, path).present(); };
  if (!daemons && absent("spec.updateStrategy.rollingUpdate.partition"))
    draft.set("spec.updateStrategy.rollingUpdate.partition", 0);
  if (daemons && absent("spec.updateStrategy.rollingUpdate.maxUnavailable"))
    draft.set("spec.updateStrategy.rollingUpdate.maxUnavailable", 1);
  if (daemons && absent("spec.updateStrategy.rollingUpdate.maxSurge"))
    draft.set("spec.updateStrategy.rollingUpdate.maxSurge", 0);
}

}  // namespace

void default_template(model::Draft& draft, const Object& given) {
  const std::string& resource = given.kind().resource;
  const char* path = template_of(given);
  if (path == nullptr) return;
  if (resource == "jobs") default_job(draft, given);
  if (resource == "statefulsets" || resource == "daemonsets") default_strategy(draft, given);
  const auto* pod = template_at(given, path);
  if (pod != nullptr) default_pod_spec(draft, std::string(path) + ".spec", pod->spec());
}

void validate_template_kinds(const Object& object, Problems& problems) {
  const char* path = template_of(object);
  if (path == nullptr) return;
  const std::string& resource = object.kind().resource;
  const std::string at(path);
  const auto* pod = template_at(object, at);
  if (pod == nullptr) return problems.required(at);
  validate_template_meta(pod->metadata(), at + ".metadata", problems);
  validate_pod_spec(pod->spec(), at + ".spec", problems);
  const auto restart = model::text_at(object, at + ".spec.restartPolicy");
  const bool runs_once = resource == "jobs" || resource == "cronjobs";
  if (runs_once && restart != "OnFailure" && restart != "Never")
    problems.required(at + ".spec.restartPolicy", "valid values: \"OnFailure\", \"Never\"");
  if (!runs_once && resource != "podtemplates" && !restart.empty() && restart != "Always")
    problems.unsupported(at + ".spec.restartPolicy", restart, {"Always"});
  if (resource != "statefulsets" && resource != "daemonsets") return;
  const auto* selector =
      reinterpret_cast<const api::meta_v1::LabelSelector*>(model::find(object, "spec.selector").table());
  if (selector == nullptr) return problems.required("spec.selector");
  validate_label_selector(selector, "spec.selector", problems);
  const auto* labels = pod->metadata() == nullptr ? nullptr : pod->metadata()->labels();
  const auto parsed = model::LabelSelector::from(selector);
  if (!parsed.ok()) return;
  if (parsed->everything()) {
    problems.invalid_json("spec.selector", "{}",
                          fmt::format("empty selector is invalid for {}",
                                      object.kind().kind == "DaemonSet" ? "daemonset" : "statefulset"));
  } else if (!parsed->matches(labels)) {
    problems.invalid_json(at + ".metadata.labels", printed(labels), "`selector` does not match template `labels`");
  }
}

}  // namespace gantry::apigw
