// The eviction of a pod: a delete that its PodDisruptionBudget has room for. The budget is charged in the same commit,
// under its own revision, so that no two evictions share one allowance.
#include <fmt/format.h>

#include <charconv>
#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "libs/model/selector.h"
#include "libs/model/walk.h"
#include "schemas/api/core_v1_generated.h"
#include "services/apigw/core/changes.h"
#include "services/apigw/core/planners.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {
namespace {

using model::Object;
using model::str;

constexpr uint32_t kRetrySeconds = 10;
constexpr size_t kMaxDisrupted = 2000;

int64_t number_at(const Object& object, std::string_view path) {
  const std::string text = model::text_at(object, path);
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

bool ready(const Object& pod) {
  const auto* status = pod.as<api::core_v1::Pod>()->status();
  if (status == nullptr || status->conditions() == nullptr) return false;
  for (const auto* condition : *status->conditions()) {
    if (str(condition->type()) == "Ready") return str(condition->status()) == "True";
  }
  return false;
}

// Nothing is disrupted by the end of what does not run, or already ends.
bool needs_no_budget(const Object& pod) {
  const std::string phase = model::text_at(pod, "status.phase");
  return phase == "Succeeded" || phase == "Failed" || phase == "Pending" ||
         pod.meta()->deletion_timestamp().has_value();
}

std::vector<Object> budgets_of(const World& world, const Object& pod) {
  std::vector<Object> budgets;
  const Mirror* mirror = world.find("poddisruptionbudgets");
  if (mirror == nullptr) return budgets;
  mirror->cache().for_each([&](const Object& budget) {
    if (budget.ns() != pod.ns()) return;
    const auto found = model::find(budget, "spec.selector");
    if (!found.present()) return;
    const auto selector =
        model::LabelSelector::from(reinterpret_cast<const api::meta_v1::LabelSelector*>(found.table()));
    if (selector.ok() && selector->matches(pod.meta()->labels())) budgets.push_back(budget);
  });
  return budgets;
}

/// `retry`: when to ask again; 0 where that depends on others, so that clients do not do it by themselves.
Error not_now(const Object& budget, std::string why, uint32_t retry) {
  Error error{Code::kTooManyRequests, "Cannot evict pod as it would violate the pod's disruption budget."};
  error.causes.push_back({"DisruptionBudget", std::move(why), ""});
  error.retry_after_seconds = retry;
  error.kind = budget.kind().kind;
  error.name = budget.name();
  return error;
}

// The budget after one more disruption; an error while it does not allow any.
Result<Object> charged(const Object& budget, const Object& pod, int64_t now) {
  if (number_at(budget, "status.observedGeneration") < budget.meta()->generation().value_or(0)) {
    return not_now(budget,
                   fmt::format("The disruption budget {} is still being processed by the server.", budget.name()),
                   kRetrySeconds);
  }
  const int64_t allowed = number_at(budget, "status.disruptionsAllowed");
  if (allowed < 0) return forbidden(budget.kind(), budget.name(), "pdb disruptions allowed is negative");
  if (allowed == 0) {
    return not_now(budget,
                   fmt::format("The disruption budget {} needs {} healthy pods and has {} currently", budget.name(),
                               number_at(budget, "status.desiredHealthy"), number_at(budget, "status.currentHealthy")),
                   0);
  }
  auto disrupted = model::to_tree(budget)["status"].value("disruptedPods", nlohmann::json::object());
  if (disrupted.size() > kMaxDisrupted) {
    return forbidden(budget.kind(), budget.name(),
                     "DisruptedPods map too big - too many evictions not confirmed by PDB controller");
  }
  disrupted[std::string(pod.name())] = model::format_time(now);
  model::Draft draft(budget);
  draft.set("status.disruptionsAllowed", allowed - 1);
  if (auto set = draft.set_json("status.disruptedPods", disrupted.dump()); !set.ok()) return set.error();
  return draft.build();
}

}  // namespace

Result<Plan> plan_evict(const Context& context, Request& request, const Object& before) {
  auto plan = plan_delete(context, request, before);
  if (!plan.ok() || plan->kind == Plan::Kind::kNothing || needs_no_budget(before)) return plan;
  const auto budgets = budgets_of(context.world, before);
  if (budgets.empty()) return plan;
  if (budgets.size() > 1) {
    return Error{Code::kInternal,
                 "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."};
  }
  const Object& budget = budgets[0];
  if (!ready(before)) {
    const int64_t healthy = number_at(budget, "status.currentHealthy"),
                  wanted = number_at(budget, "status.desiredHealthy");
    if (model::text_at(budget, "spec.unhealthyPodEvictionPolicy") == "AlwaysAllow") return plan;
    if (healthy >= wanted && wanted > 0) return plan;
  }
  auto after = charged(budget, before, request.now);
  if (!after.ok()) return std::move(after.error());
  plan->guards.push_back({.kind = state::Guard::Kind::kRevision,
                          .key = {budget.kind().resource, std::string(budget.ns()), std::string(budget.name())},
                          .number = budget.revision()});
  const Origin origin{request.identity.user, request.verb, request.command.because, request.command.id,
                      request.now * 1'000'000};
  plan->operations.push_back(put(context.world, budget, *after, origin));
  return plan;
}

}  // namespace gantry::apigw
