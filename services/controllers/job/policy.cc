#include "services/controllers/job/policy.h"

#include <fmt/format.h>

#include <algorithm>

#include "schemas/api/core_v1_generated.h"

namespace gantry::controllers {
namespace {

using api::core_v1::Pod;
using model::str;
namespace batch = api::batch_v1;

/// The container that the requirement matches, and its code.
struct Exit {
  std::string_view container;
  int code;
};

std::optional<Exit> match_exit(const batch::PodFailurePolicyOnExitCodesRequirement& wanted, const Pod& pod) {
  if (pod.status() == nullptr) return std::nullopt;
  for (const auto* list : {pod.status()->container_statuses(), pod.status()->init_container_statuses()}) {
    if (list == nullptr) continue;
    for (const auto* status : *list) {
      if (wanted.container_name() != nullptr && str(wanted.container_name()) != str(status->name())) continue;
      const auto* ended = status->state() == nullptr ? nullptr : status->state()->terminated();
      const int code = ended == nullptr ? 0 : ended->exit_code().value_or(0);
      if (code == 0) continue;
      const auto* values = wanted.values();
      bool listed = values != nullptr && std::find(values->begin(), values->end(), code) != values->end();
      if (listed == (str(wanted.operator_()) == "In")) return Exit{str(status->name()), code};
    }
  }
  return std::nullopt;
}

/// The type of the condition that is as one of the patterns wants it.
std::optional<std::string_view> match_condition(const batch::PodFailurePolicyRule& rule, const Pod& pod) {
  if (pod.status() == nullptr || pod.status()->conditions() == nullptr) return std::nullopt;
  for (const auto* condition : *pod.status()->conditions()) {
    for (const auto* pattern : *rule.on_pod_conditions()) {
      if (str(pattern->type()) == str(condition->type()) && str(pattern->status()) == str(condition->status()))
        return str(condition->type());
    }
  }
  return std::nullopt;
}

}  // namespace

FailureVerdict judge_failure(const batch::PodFailurePolicy* policy, const model::Object& object) {
  FailureVerdict verdict;
  if (policy == nullptr || policy->rules() == nullptr) return verdict;
  const Pod& pod = *object.as<Pod>();
  for (flatbuffers::uoffset_t i = 0; i < policy->rules()->size(); ++i) {
    const batch::PodFailurePolicyRule& rule = *policy->rules()->Get(i);
    const std::string_view action = str(rule.action());
    std::string what;
    if (rule.on_exit_codes() != nullptr) {
      if (auto exit = match_exit(*rule.on_exit_codes(), pod))
        what = fmt::format("Container {} for pod {}/{} failed with exit code {}", exit->container, object.ns(),
                           object.name(), exit->code);
    } else if (rule.on_pod_conditions() != nullptr) {
      if (auto type = match_condition(rule, pod))
        what = fmt::format("Pod {}/{} has condition {}", object.ns(), object.name(), *type);
    }
    if (what.empty()) continue;
    verdict.counts = action != "Ignore";
    verdict.fails_index = action == "FailIndex";
    if (action == "FailJob") verdict.fails_job = fmt::format("{} matching {} rule at index {}", what, action, i);
    return verdict;
  }
  return verdict;
}

std::optional<std::string> success_met(const batch::SuccessPolicy* policy, int completions, const IndexSet& succeeded) {
  if (policy == nullptr || policy->rules() == nullptr) return std::nullopt;
  for (flatbuffers::uoffset_t i = 0; i < policy->rules()->size(); ++i) {
    const batch::SuccessPolicyRule& rule = *policy->rules()->Get(i);
    bool met = false;
    if (rule.succeeded_indexes() != nullptr) {
      const IndexSet wanted = IndexSet::parse(str(rule.succeeded_indexes()), completions);
      met = succeeded.common(wanted) >= rule.succeeded_count().value_or(wanted.total());
    } else if (rule.succeeded_count()) {
      met = succeeded.total() >= *rule.succeeded_count();
    }
    if (met) return fmt::format("Matched rules at index {}", i);
  }
  return std::nullopt;
}

}  // namespace gantry::controllers
