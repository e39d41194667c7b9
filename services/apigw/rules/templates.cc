// Kinds with a pod template, beside Deployments and ReplicaSets: what is added to and demanded of the template and its
// selector.
#include <fmt/format.h>

#include "libs/model/walk.h"
#include "libs/model/workload.h"
#include "schemas/api/apps_more_v1_generated.h"
#include "schemas/api/apps_v1_generated.h"
#include "services/apigw/rules/kinds.h"
#include "services/apigw/rules/tables.h"

namespace gantry::apigw {
namespace {

using model::Object;

// Deployments and ReplicaSets have rules of their own.
std::string template_of(const Object& object) {
  const std::string& resource = object.kind().resource;
  if (resource == "deployments" || resource == "replicasets") return "";
  return std::string(model::pod_template_path(resource));
}

const api::core_v1::PodTemplateSpec* template_at(const Object& object, std::string_view path) {
  return reinterpret_cast<const api::core_v1::PodTemplateSpec*>(model::find(object, path).table());
}

// What the pods of a StatefulSet mount besides their own volumes.
std::vector<std::string_view> claims_of(const Object& object) {
  std::vector<std::string_view> names;
  if (object.kind().resource != "statefulsets") return names;
  const auto* spec = object.as<api::apps_v1::StatefulSet>()->spec();
  if (spec == nullptr || spec->volume_claim_templates() == nullptr) return names;
  for (const auto* claim : *spec->volume_claim_templates()) {
    if (claim->metadata() != nullptr) names.push_back(model::str(claim->metadata()->name()));
  }
  return names;
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
  // Without labels of its own it takes those of its pods.
  const bool unlabeled = absent("metadata.labels");
  const auto* meta = unlabeled ? template_at(given, "spec.template")->metadata() : nullptr;
  for (flatbuffers::uoffset_t i = 0; meta != nullptr && meta->labels() != nullptr && i < meta->labels()->size(); ++i) {
    const auto* entry = meta->labels()->Get(i);
    if (plain_key(model::str(entry->key())))
      draft.set(fmt::format("metadata.labels[{}]", model::str(entry->key())), model::str(entry->value()));
  }
  for (const char* prefix : {"", "batch.kubernetes.io/"}) {
    for (const char* labels : {"spec.template.metadata.labels", "metadata.labels"}) {
      if (labels[0] == 'm' && !unlabeled) continue;
      draft.set(fmt::format("{}[{}controller-uid]", labels, prefix), uid);
      draft.set(fmt::format("{}[{}job-name]", labels, prefix), name);
    }
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

// A controller of old finds the pods that its template makes.
void default_replicationcontroller(model::Draft& draft, const Object& given) {
  const auto* pod = template_at(given, "spec.template");
  const auto* labels = pod == nullptr || pod->metadata() == nullptr ? nullptr : pod->metadata()->labels();
  for (flatbuffers::uoffset_t i = 0; labels != nullptr && i < labels->size(); ++i) {
    const std::string_view key = model::str(labels->Get(i)->key()), value = model::str(labels->Get(i)->value());
    if (!plain_key(key)) continue;  // validation will name it
    if (!model::find(given, "spec.selector").present()) draft.set(fmt::format("spec.selector[{}]", key), value);
    if (!model::find(given, "metadata.labels").present()) draft.set(fmt::format("metadata.labels[{}]", key), value);
  }
}

/// Pods get their names from it, and their labels.
void validate_names(const Object& object, Problems& problems) {
  const std::string& resource = object.kind().resource;
  const size_t most = resource == "cronjobs" ? 52 : resource == "jobs" ? 63 : 0;
  if (most != 0 && object.name().size() > most)
    problems.invalid("metadata.name", object.name(), fmt::format("must be no more than {} characters", most));
}

/// A Job's selector is made from its uid; who brings one must say so.
void validate_job_selector(const Object& object, Problems& problems) {
  if (model::text_at(object, "spec.manualSelector") == "true") {
    if (!model::find(object, "spec.selector").present()) problems.required("spec.selector");
    return;
  }
  const auto uid = model::text_at(object, "spec.selector.matchLabels[batch.kubernetes.io/controller-uid]");
  const auto old = model::text_at(object, "spec.selector.matchLabels[controller-uid]");
  if (object.uid().empty() || uid == object.uid() || old == object.uid()) return;
  problems.invalid_json("spec.selector", model::text_at(object, "spec.selector"), "`selector` not auto-generated");
}

}  // namespace

void default_template(model::Draft& draft, const Object& given) {
  const std::string& resource = given.kind().resource;
  const std::string path = template_of(given);
  if (path.empty()) return;
  if (resource == "jobs") default_job(draft, given);
  if (resource == "replicationcontrollers") default_replicationcontroller(draft, given);
  if (resource == "statefulsets" || resource == "daemonsets") default_strategy(draft, given);
  const auto* pod = template_at(given, path);
  if (pod != nullptr) default_pod_spec(draft, path + ".spec", pod->spec());
}

void validate_template_kinds(const Object& object, Problems& problems) {
  const std::string at = template_of(object);
  if (at.empty()) return;
  const std::string& resource = object.kind().resource;
  validate_names(object, problems);
  if (resource == "jobs") validate_job_selector(object, problems);
  const auto* pod = template_at(object, at);
  if (pod == nullptr) return problems.required(at);
  validate_template_meta(pod->metadata(), at + ".metadata", problems);
  validate_pod_spec(pod->spec(), at + ".spec", problems, claims_of(object));
  const auto restart = model::text_at(object, at + ".spec.restartPolicy");
  const bool runs_once = resource == "jobs" || resource == "cronjobs";
  if (runs_once && restart != "OnFailure" && restart != "Never")
    problems.required(at + ".spec.restartPolicy", "valid values: \"OnFailure\", \"Never\"");
  if (!runs_once && resource != "podtemplates" && !restart.empty() && restart != "Always")
    problems.unsupported(at + ".spec.restartPolicy", restart, {"Always"});
  const bool batch = resource == "jobs" && model::find(object, "spec.selector").present();
  if (resource != "statefulsets" && resource != "daemonsets" && !batch) return;
  const auto* selector =
      reinterpret_cast<const api::meta_v1::LabelSelector*>(model::find(object, "spec.selector").table());
  if (selector == nullptr) return problems.required("spec.selector");
  validate_label_selector(selector, "spec.selector", problems);
  const auto* labels = pod->metadata() == nullptr ? nullptr : pod->metadata()->labels();
  const auto parsed = model::LabelSelector::from(selector);
  if (!parsed.ok()) return;
  if (parsed->everything()) {
    if (batch) return;
    problems.invalid_json("spec.selector", "{}",
                          fmt::format("empty selector is invalid for {}",
                                      object.kind().kind == "DaemonSet" ? "daemonset" : "statefulset"));
  } else if (!parsed->matches(labels)) {
    problems.invalid_json(at + ".metadata.labels", printed(labels), "`selector` does not match template `labels`");
  }
}

}  // namespace gantry::apigw
