// Rules of workloads: StatefulSets, DaemonSets, ReplicationControllers, Jobs, CronJobs, autoscalers, disruption
// budgets.
#include <map>
#include <set>

#include "libs/model/names.h"
#include "schemas/api/apps_more_v1_generated.h"
#include "schemas/api/autoscaling_v2_generated.h"
#include "schemas/api/batch_v1_generated.h"
#include "schemas/api/core_more_v1_generated.h"
#include "schemas/api/policy_more_v1_generated.h"
#include "services/apigw/rules/programs.h"

namespace gantry::apigw {
namespace {

using flatbuffers::uoffset_t;
using model::str;
namespace apps = api::apps_v1;
namespace batch = api::batch_v1;
namespace core = api::core_v1;
namespace hpa = api::autoscaling_v2;

void no_deadline(const core::PodTemplateSpec* pod, const char* kind, const std::string& at, Problems& problems) {
  if (pod != nullptr && pod->spec() != nullptr && pod->spec()->active_deadline_seconds())
    problems.forbidden(at + ".template.spec.activeDeadlineSeconds",
                       fmt::format("activeDeadlineSeconds in {} is not Supported", kind));
}

void statefulset(const apps::StatefulSetSpec& spec, const std::string& at, Problems& problems) {
  no_deadline(spec.template_(), "StatefulSet", at, problems);
  const auto* update = spec.update_strategy();
  if (update == nullptr) return;
  if (str(update->type()) == "OnDelete" && update->rolling_update() != nullptr)
    problems.invalid_json(at + ".updateStrategy.rollingUpdate",
                          json_of("apps_v1.RollingUpdateStatefulSetStrategy", update->rolling_update()),
                          "only allowed for updateStrategy 'RollingUpdate'");
  const auto* most = update->rolling_update() == nullptr ? nullptr : update->rolling_update()->max_unavailable();
  const std::string path = at + ".updateStrategy.rollingUpdate.maxUnavailable";
  if (most != nullptr && validate_share(most, path, true, problems)) problems.invalid(path, 0, "cannot be 0");
}

std::string share_text(const api::meta_v1::IntOrString& share) {
  return share.int_value() ? std::to_string(*share.int_value()) : quoted(str(share.str_value()));
}

void daemonset(const apps::DaemonSetSpec& spec, const std::string& at, Problems& problems) {
  no_deadline(spec.template_(), "DaemonSet", at, problems);
  const auto* rolling = spec.update_strategy() == nullptr ? nullptr : spec.update_strategy()->rolling_update();
  if (rolling == nullptr || str(spec.update_strategy()->type()) == "OnDelete") return;
  const std::string path = at + ".updateStrategy.rollingUpdate.";
  const bool none = validate_share(rolling->max_unavailable(), path + "maxUnavailable", true, problems);
  const bool no_surge = validate_share(rolling->max_surge(), path + "maxSurge", true, problems);
  if (none && no_surge) problems.required(path + "maxUnavailable", "cannot be 0 when maxSurge is 0");
  if (!none && !no_surge)
    problems.invalid_json(path + "maxSurge", share_text(*rolling->max_surge()),
                          "may not be set when maxUnavailable is non-zero");
}

void replicationcontroller(const core::ReplicationControllerSpec& spec, const std::string& at, Problems& problems) {
  no_deadline(spec.template_(), "ReplicationController", at, problems);
  validate_labels(spec.selector(), at + ".selector", problems);
  if (count(spec.selector()) == 0) return problems.required(at + ".selector");
  const auto* pod = spec.template_();
  if (pod == nullptr) return;
  const auto* labels = pod->metadata() == nullptr ? nullptr : pod->metadata()->labels();
  for (const auto* wanted : *spec.selector()) {
    const auto* found = model::lookup(labels, str(wanted->key()));
    if (found != nullptr && str(found) == str(wanted->value())) continue;
    return problems.invalid_json(at + ".template.metadata.labels", printed(labels),
                                 "`selector` does not match template `labels`");
  }
}

// --- Jobs

void failure_rule(const batch::PodFailurePolicyRule& rule, const batch::JobSpec& job, const std::string& at,
                  Problems& problems) {
  const auto* codes = rule.on_exit_codes();
  const bool conditions = count(rule.on_pod_conditions()) > 0;
  const std::string json = json_of("batch_v1.PodFailurePolicyRule", &rule);
  if (codes != nullptr && conditions) {
    problems.invalid_json(at, json, "specifying both OnExitCodes and OnPodConditions is not supported");
  } else if (codes == nullptr && !conditions) {
    problems.invalid_json(at, json, "specifying one of OnExitCodes and OnPodConditions is required");
  }
  if (str(rule.action()) == "FailIndex" && !job.backoff_limit_per_index())
    problems.invalid(at + ".action", "FailIndex", "requires the backoffLimitPerIndex to be set");
  for (uoffset_t i = 0; i < count(rule.on_pod_conditions()); ++i) {
    const auto& condition = *rule.on_pod_conditions()->Get(i);
    const std::string path = fmt::format("{}.onPodConditions[{}]", at, i);
    problems.check(path + ".type", str(condition.type()), model::check_qualified_name(str(condition.type())));
    if (!one_of(str(condition.status()), {"True", "False", "Unknown"}))
      problems.unsupported(path + ".status", str(condition.status()), {"False", "True", "Unknown"});
  }
  if (codes == nullptr) return;
  const std::string path = at + ".onExitCodes";
  std::set<int> seen;
  for (uoffset_t i = 0; i < count(codes->values()); ++i) {
    const int value = codes->values()->Get(i);
    const std::string where = fmt::format("{}.values[{}]", path, i);
    if (str(codes->operator_()) == "In" && value == 0) problems.invalid(where, 0, "must not be 0 for the In operator");
    if (!seen.insert(value).second) problems.duplicate_json(where, std::to_string(value));
  }
  if (codes->container_name() == nullptr || job.template_() == nullptr || job.template_()->spec() == nullptr) return;
  bool known = false;
  for (const auto* list : {job.template_()->spec()->containers(), job.template_()->spec()->init_containers()}) {
    for (uoffset_t i = 0; i < count(list); ++i)
      known = known || str(list->Get(i)->name()) == str(codes->container_name());
  }
  if (!known)
    problems.invalid(path + ".containerName", str(codes->container_name()),
                     "must be one of the container or initContainer names in the pod template");
}

/// "0-3,7": ascending, apart, below `most`.
std::string check_indexes(std::string_view text, int most) {
  int last = -1;
  while (!text.empty()) {
    const size_t comma = std::min(text.find(','), text.size());
    const std::string part(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
    int from = -1, to = -1, read = 0;
    if (std::sscanf(part.c_str(), "%d-%d%n", &from, &to, &read) != 2 || read != static_cast<int>(part.size())) {
      to = -1;
      if (std::sscanf(part.c_str(), "%d%n", &from, &read) != 1 || read != static_cast<int>(part.size()))
        return fmt::format("cannot convert string to integer for index: \"{}\"", part);
      to = from;
    }
    if (from < 0 || from <= last || to < from)
      return fmt::format("non-increasing order, previous: {}, current: {}", last, from);
    if (to >= most) return fmt::format("too large index: \"{}\"", part);
    last = to;
  }
  return "";
}

void indexed_only(const batch::JobSpec& spec, const std::string& at, Problems& problems) {
  const bool indexed = str(spec.completion_mode()) == "Indexed";
  if (indexed) {
    if (!spec.completions()) problems.required(at + ".completions", "when completion mode is Indexed");
    if (spec.parallelism().value_or(0) > 100000)
      problems.invalid(at + ".parallelism", *spec.parallelism(),
                       "must be less than or equal to 100000 when completion mode is Indexed");
  }
  if (spec.backoff_limit_per_index() && !indexed)
    problems.invalid(at + ".backoffLimitPerIndex", *spec.backoff_limit_per_index(), "requires indexed completion mode");
  if (spec.max_failed_indexes()) {
    if (!spec.backoff_limit_per_index())
      problems.required(at + ".backoffLimitPerIndex", "when maxFailedIndexes is specified");
    if (spec.completions() && *spec.max_failed_indexes() > *spec.completions())
      problems.invalid(at + ".maxFailedIndexes", *spec.max_failed_indexes(),
                       "must be less than or equal to completions");
  }
  if (spec.success_policy() == nullptr) return;
  if (!indexed)
    problems.invalid_json(at + ".successPolicy", json_of("batch_v1.SuccessPolicy", spec.success_policy()),
                          "requires indexed completion mode");
  for (uoffset_t i = 0; i < count(spec.success_policy()->rules()); ++i) {
    const auto& rule = *spec.success_policy()->rules()->Get(i);
    const std::string path = fmt::format("{}.successPolicy.rules[{}]", at, i);
    if (!rule.succeeded_count() && rule.succeeded_indexes() == nullptr)
      problems.required(path, "at least one of succeededCount or succeededIndexes must be specified");
    if (rule.succeeded_indexes() != nullptr) {
      const auto wrong = check_indexes(str(rule.succeeded_indexes()), spec.completions().value_or(0));
      if (!wrong.empty())
        problems.invalid(path + ".succeededIndexes", str(rule.succeeded_indexes()),
                         "error parsing succeededIndexes: " + wrong);
    }
    if (rule.succeeded_count().value_or(0) > spec.completions().value_or(0))
      problems.invalid(path + ".succeededCount", *rule.succeeded_count(),
                       fmt::format("must be less than or equal to {} (the number of specified completions)",
                                   spec.completions().value_or(0)));
  }
}

void job(const batch::JobSpec& spec, const std::string& at, Problems& problems) {
  indexed_only(spec, at, problems);
  if (spec.managed_by() != nullptr) {
    problems.check(at + ".managedBy", str(spec.managed_by()), check_domain_path(str(spec.managed_by())));
    if (spec.managed_by()->size() > 63) problems.too_long(at + ".managedBy", 63);
  }
  if (spec.pod_failure_policy() == nullptr) return;
  const auto* pod = spec.template_() == nullptr ? nullptr : spec.template_()->spec();
  if (pod != nullptr && str(pod->restart_policy()) != "Never")
    problems.invalid(at + ".template.spec.restartPolicy", str(pod->restart_policy()),
                     "only \"Never\" is supported when podFailurePolicy is specified");
  if (str(spec.pod_replacement_policy()) == "TerminatingOrFailed")
    problems.unsupported(at + ".podReplacementPolicy", "TerminatingOrFailed", {"Failed"});
  for (uoffset_t i = 0; i < count(spec.pod_failure_policy()->rules()); ++i)
    failure_rule(*spec.pod_failure_policy()->rules()->Get(i), spec, fmt::format("{}.podFailurePolicy.rules[{}]", at, i),
                 problems);
}

void cronjob(const batch::CronJobSpec& spec, const std::string& at, Problems& problems) {
  if (spec.time_zone() != nullptr && spec.time_zone()->size() == 0)
    problems.invalid(at + ".timeZone", "", "timeZone must be nil or non-empty string");
  const auto* job = spec.job_template() == nullptr ? nullptr : spec.job_template()->spec();
  if (job != nullptr && job->manual_selector().value_or(false))
    problems.unsupported(at + ".jobTemplate.spec.manualSelector", "true", {"nil", "false"});
  if (job != nullptr && job->selector() != nullptr)
    problems.invalid_json(at + ".jobTemplate.spec.selector", json_of("meta_v1.LabelSelector", job->selector()),
                          "`selector` will be auto-generated");
}

// --- autoscaling

void metric_target(const hpa::MetricTarget& target, const std::string& at, Problems& problems) {
  const std::string_view type = str(target.type());
  if (!type.empty() && !one_of(type, {"Utilization", "Value", "AverageValue"}))
    problems.invalid(at + ".type", type, "must be either Utilization, Value, or AverageValue");
  const auto positive = [&](const flatbuffers::String* text, const char* field) {
    const auto value = model::Quantity::parse(str(text));
    if (text != nullptr && value.ok() && *value <= model::Quantity())
      problems.invalid(fmt::format("{}.{}", at, field), str(text), "must be positive");
  };
  positive(target.value(), "value");
  positive(target.average_value(), "averageValue");
  if (target.average_utilization() && *target.average_utilization() < 1)
    problems.invalid(at + ".averageUtilization", *target.average_utilization(), "must be greater than 0");
}

/// Which targets the source knows: exactly one of the two.
void one_target(bool first, bool second, const std::string& at, const char* second_name, const char* neither,
                const char* both, Problems& problems) {
  if (!first && !second) problems.required(at, neither);
  if (first && second) problems.forbidden(fmt::format("{}", second_name), both);
}

void metric(const hpa::MetricSpec& spec, const std::string& at, Problems& problems) {
  const std::pair<std::string_view, std::pair<const char*, bool>> sources[] = {
      {"Object", {"object", spec.object() != nullptr}},
      {"Pods", {"pods", spec.pods() != nullptr}},
      {"Resource", {"resource", spec.resource() != nullptr}},
      {"External", {"external", spec.external() != nullptr}},
      {"ContainerResource", {"containerResource", spec.container_resource() != nullptr}}};
  const std::string_view type = str(spec.type());
  for (const auto& [name, source] : sources) {
    const std::string path = fmt::format("{}.{}", at, source.first);
    if (name == type && !source.second)
      problems.required(path, "must populate information for the given metric source");
    if (name != type && source.second)
      problems.forbidden(path, "must populate information for the given metric source only");
  }
  const auto resource = [&](const hpa::MetricTarget* target, const std::string& path) {
    if (target == nullptr) return;
    one_target(target->average_utilization().has_value(), target->average_value() != nullptr,
               path + ".averageUtilization", (path + ".averageValue").c_str(),
               "must set either a target raw value or a target utilization",
               "may not set both a target raw value and a target utilization", problems);
  };
  const auto value = [&](const hpa::MetricTarget* target, const std::string& path) {
    if (target == nullptr) return;
    one_target(target->value() != nullptr, target->average_value() != nullptr, path + ".averageValue",
               (path + ".value").c_str(), "must set either a target value for metric or a per-pod target",
               "may not set both a target value for metric and a per-pod target", problems);
  };
  if (spec.resource() != nullptr) resource(spec.resource()->target(), at + ".resource.target");
  if (spec.container_resource() != nullptr)
    resource(spec.container_resource()->target(), at + ".containerResource.target");
  if (spec.object() != nullptr) value(spec.object()->target(), at + ".object.target");
  if (spec.external() != nullptr) value(spec.external()->target(), at + ".external.target");
  if (spec.pods() != nullptr && spec.pods()->target() != nullptr && spec.pods()->target()->average_value() == nullptr)
    problems.required(at + ".pods.target.averageValue", "must specify a positive target averageValue");
}

void scaling_rules(const hpa::HPAScalingRules& rules, const std::string& at, Problems& problems) {
  if (rules.stabilization_window_seconds().value_or(0) > 3600)
    problems.invalid(at + ".stabilizationWindowSeconds", *rules.stabilization_window_seconds(),
                     "must be less than or equal to 3600");
  if (count(rules.policies()) == 0) problems.required(at + ".policies", "must specify at least one Policy");
  for (uoffset_t i = 0; i < count(rules.policies()); ++i) {
    const auto seconds = rules.policies()->Get(i)->period_seconds().value_or(0);
    if (seconds > 1800)
      problems.invalid(fmt::format("{}.policies[{}].periodSeconds", at, i), seconds,
                       "must be less than or equal to 1800");
  }
}

void autoscaler(const hpa::HorizontalPodAutoscalerSpec& spec, const std::string& at, Problems& problems) {
  const int most = spec.max_replicas().value_or(0);
  if (most > 0 && spec.min_replicas() && *spec.min_replicas() > most)
    problems.invalid(at + ".maxReplicas", most, "must be greater than or equal to `minReplicas`");
  if (!spec.min_replicas() || *spec.min_replicas() != 0) return;
  // A pod that is not there uses nothing: something else must say when it is wanted again.
  for (uoffset_t i = 0; i < count(spec.metrics()); ++i) {
    if (one_of(str(spec.metrics()->Get(i)->type()), {"Object", "External"})) return;
  }
  problems.forbidden(at + ".metrics",
                     "must specify at least one Object or External metric to support scaling to zero replicas");
}

void budget(const api::policy_v1::PodDisruptionBudgetSpec& spec, const std::string& at, Problems& problems) {
  if (spec.min_available() != nullptr && spec.max_unavailable() != nullptr)
    problems.invalid_json(at, json_of("policy_v1.PodDisruptionBudgetSpec", &spec),
                          "minAvailable and maxUnavailable cannot be both set");
  validate_share(spec.min_available(), at + ".minAvailable", true, problems);
  validate_share(spec.max_unavailable(), at + ".maxUnavailable", true, problems);
}

constexpr Program kPrograms[] = {
    {"apps_v1.StatefulSetSpec", typed<apps::StatefulSetSpec, statefulset>},
    {"apps_v1.DaemonSetSpec", typed<apps::DaemonSetSpec, daemonset>},
    {"core_v1.ReplicationControllerSpec", typed<core::ReplicationControllerSpec, replicationcontroller>},
    {"batch_v1.JobSpec", typed<batch::JobSpec, job>},
    {"batch_v1.CronJobSpec", typed<batch::CronJobSpec, cronjob>},
    {"autoscaling_v2.HorizontalPodAutoscalerSpec", typed<hpa::HorizontalPodAutoscalerSpec, autoscaler>},
    {"autoscaling_v2.MetricSpec", typed<hpa::MetricSpec, metric>},
    {"autoscaling_v2.MetricTarget", typed<hpa::MetricTarget, metric_target>},
    {"autoscaling_v2.HPAScalingRules", typed<hpa::HPAScalingRules, scaling_rules>},
    {"policy_v1.PodDisruptionBudgetSpec", typed<api::policy_v1::PodDisruptionBudgetSpec, budget>},
};

}  // namespace

std::span<const Program> batch_programs() { return kPrograms; }

}  // namespace gantry::apigw
