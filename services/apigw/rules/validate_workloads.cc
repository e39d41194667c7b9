#include <fmt/format.h>

#include "schemas/api/apps_v1_generated.h"
#include "services/apigw/rules/programs.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

using model::str;

void not_negative(const std::string& at, flatbuffers::Optional<int32_t> value, Problems& problems) {
  if (value.value_or(0) < 0) problems.invalid(at, *value, kNotNegative);
}

void validate_selector(const api::meta_v1::LabelSelector* selector, const std::string& kind, Problems& problems) {
  if (selector == nullptr) return problems.required("spec.selector");
  validate_label_selector(selector, "spec.selector", problems);
  const bool labels = selector->match_labels() != nullptr && selector->match_labels()->size() > 0;
  const bool expressions = selector->match_expressions() != nullptr && selector->match_expressions()->size() > 0;
  if (!labels && !expressions) {
    problems.invalid_json("spec.selector",
                          printed(*model::Schema::get().type("gantry.api.meta_v1.LabelSelector"),
                                  reinterpret_cast<const flatbuffers::Table*>(selector)),
                          fmt::format("empty selector is invalid for {}", kind));
  }
}

// The pods of a workload must be those that it selects, and run for as long as it wants them.
void validate_template(const api::core_v1::PodTemplateSpec* pod, const api::meta_v1::LabelSelector* selector,
                       Problems& problems) {
  if (pod == nullptr) return problems.required("spec.template");
  const auto* labels = pod->metadata() == nullptr ? nullptr : pod->metadata()->labels();
  const auto parsed = model::LabelSelector::from(selector);
  if (selector != nullptr && parsed.ok() && !parsed->everything() && !parsed->matches(labels)) {
    problems.invalid_json("spec.template.metadata.labels", printed(labels),
                          "`selector` does not match template `labels`");
  }
  validate_template_meta(pod->metadata(), "spec.template.metadata", problems);
  validate_pod_spec(pod->spec(), "spec.template.spec", problems);
  if (pod->spec() == nullptr) return;
  const std::string_view restart = str(pod->spec()->restart_policy());
  if (restart == "OnFailure" || restart == "Never")
    problems.unsupported("spec.template.spec.restartPolicy", restart, {"Always"});
  if (pod->spec()->active_deadline_seconds()) {
    problems.forbidden("spec.template.spec.activeDeadlineSeconds",
                       "activeDeadlineSeconds in ReplicaSet is not Supported");
  }
}

void validate_strategy(const api::apps_v1::DeploymentStrategy* strategy, Problems& problems) {
  if (strategy == nullptr) return;
  const std::string_view type = str(strategy->type());
  const auto* rolling = strategy->rolling_update();
  if (type == "Recreate") {
    if (rolling != nullptr) {
      problems.forbidden("spec.strategy.rollingUpdate", "may not be specified when strategy `type` is 'Recreate'");
    }
    return;
  }
  if (type != "RollingUpdate") return;  // the schema knows which there are
  if (rolling == nullptr)
    return problems.required("spec.strategy.rollingUpdate", "this should be defaulted and never be nil");
  const std::string at = "spec.strategy.rollingUpdate.";
  const bool none = validate_share(rolling->max_unavailable(), at + "maxUnavailable", true, problems);
  const bool no_surge = validate_share(rolling->max_surge(), at + "maxSurge", false, problems);
  if (none && no_surge) problems.invalid(at + "maxUnavailable", 0, "may not be 0 when `maxSurge` is 0");
}

}  // namespace

bool validate_share(const api::meta_v1::IntOrString* value, const std::string& at, bool at_most_all,
                    Problems& problems) {
  if (value == nullptr) return true;
  if (value->int_value()) {
    if (*value->int_value() < 0) problems.invalid(at, *value->int_value(), kNotNegative);
    return *value->int_value() == 0;
  }
  const std::string_view text = str(value->str_value());
  if (const auto wrong = check_percent(text); !wrong.empty()) {
    problems.invalid(at, text, wrong);
    return false;
  }
  if (at_most_all && percent_of(text) > 100) problems.invalid(at, text, "must not be greater than 100%");
  return percent_of(text) == 0;
}

void validate_deployment(const model::Object& deployment, Problems& problems) {
  const auto* spec = deployment.as<api::apps_v1::Deployment>()->spec();
  if (spec == nullptr) {
    problems.required("spec.selector");
    return problems.required("spec.template.spec.containers");
  }
  not_negative("spec.replicas", spec->replicas(), problems);
  validate_selector(spec->selector(), "deployment", problems);
  validate_template(spec->template_(), spec->selector(), problems);
  validate_strategy(spec->strategy(), problems);
  not_negative("spec.minReadySeconds", spec->min_ready_seconds(), problems);
  not_negative("spec.revisionHistoryLimit", spec->revision_history_limit(), problems);
  if (spec->progress_deadline_seconds()) {
    not_negative("spec.progressDeadlineSeconds", spec->progress_deadline_seconds(), problems);
    if (*spec->progress_deadline_seconds() <= spec->min_ready_seconds().value_or(0)) {
      problems.invalid("spec.progressDeadlineSeconds", *spec->progress_deadline_seconds(),
                       "must be greater than minReadySeconds");
    }
  }
}

void validate_replicaset(const model::Object& replicaset, Problems& problems) {
  const auto* spec = replicaset.as<api::apps_v1::ReplicaSet>()->spec();
  if (spec == nullptr) {
    problems.required("spec.selector");
    return problems.required("spec.template");
  }
  not_negative("spec.replicas", spec->replicas(), problems);
  not_negative("spec.minReadySeconds", spec->min_ready_seconds(), problems);
  validate_selector(spec->selector(), "replicaset", problems);
  validate_template(spec->template_(), spec->selector(), problems);
}

void validate_selector_update(const model::Object& now, const model::Object& before, Problems& problems) {
  const auto selector = [](const model::Object& object) -> const flatbuffers::Table* {
    const auto* spec = part(object, "spec");
    if (spec == nullptr) return nullptr;
    return spec->GetPointer<const flatbuffers::Table*>(
        object.kind().type->by_json("spec")->type->by_json("selector")->slot);
  };
  const auto *x = selector(now), *y = selector(before);
  static const model::Type& type = *model::Schema::get().type("gantry.api.meta_v1.LabelSelector");
  const bool same = x == nullptr || y == nullptr ? x == y : model::equal(type, x, y);
  if (!same) problems.invalid_json("spec.selector", printed(type, x), kImmutable);
}

}  // namespace gantry::apigw
