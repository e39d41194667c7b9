#include <fmt/format.h>

#include "schemas/api/core_v1_generated.h"
#include "services/apigw/core/admitting.h"
#include "services/apigw/core/metadata.h"
#include "services/apigw/core/planners.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

using model::Object;
using model::str;

constexpr std::string_view kForeground = "foregroundDeletion", kOrphan = "orphan";
constexpr int64_t kDefaultGrace = 30, kMaxGrace = int64_t{1} << 31;

Status check_preconditions(const Request& request, const Object& before) {
  const auto& command = request.command;
  if (!command.uid.empty() && command.uid != before.uid()) {
    return conflict(
        before.kind(), before.name(),
        fmt::format("Precondition failed: UID in precondition: {}, UID in object meta: {}", command.uid, before.uid()));
  }
  if (command.revision != 0 && command.revision != before.revision()) {
    Error error = conflict(
        before.kind(), before.name(),
        fmt::format("Precondition failed: ResourceVersion in precondition: {}, ResourceVersion in object meta: {}",
                    command.revision, before.revision()));
    error.current_revision = before.revision();
    return error;
  }
  return Done{};
}

// How long the pod's containers may take to stop; 0 when nothing runs.
int64_t grace_of(const Request& request, const Object& object) {
  if (object.kind().resource != "pods") return 0;
  const auto* pod = object.as<api::core_v1::Pod>();
  const std::string_view phase = pod->status() == nullptr ? std::string_view() : str(pod->status()->phase());
  if (pod->spec() == nullptr || str(pod->spec()->node_name()).empty() || phase == "Succeeded" || phase == "Failed")
    return 0;
  // Below zero means: as soon as it can be.
  if (const auto& wish = request.command.grace_period_seconds) return *wish < 0 ? 1 : std::min(*wish, kMaxGrace);
  return std::min(pod->spec()->termination_grace_period_seconds().value_or(kDefaultGrace), kMaxGrace);
}

// The finalizers after the wish for what becomes of the dependents.
std::vector<std::string> finalizers_of(const Object& object, std::string_view propagation) {
  std::vector<std::string> finalizers;
  if (object.meta()->finalizers() != nullptr) {
    for (const auto* f : *object.meta()->finalizers()) {
      const bool ours = str(f) == kForeground || str(f) == kOrphan;
      if (!ours || propagation.empty()) finalizers.emplace_back(str(f));
    }
  }
  if (propagation == "Foreground") finalizers.emplace_back(kForeground);
  if (propagation == "Orphan") finalizers.emplace_back(kOrphan);
  return finalizers;
}

Plan erase_now(const Context& context, const Object& before) {
  Plan plan;
  plan.kind = Plan::Kind::kErase;
  plan.after = before;
  plan.operations = releases(context, before);
  plan.outcome = Answer::Outcome::kDeleted;
  return plan;
}

Plan wait_for(const Object& before, model::Draft& draft) {
  Plan plan;
  plan.after = draft.build();
  plan.kind =
      model::equal(*before.kind().type, plan.after.root(), before.root()) ? Plan::Kind::kNothing : Plan::Kind::kPut;
  if (plan.kind == Plan::Kind::kNothing) plan.after = before;
  return plan;
}

Result<Plan> delete_namespace(const Context& context, const Request& request, const Object& before) {
  if (before.name() == "default" || before.name() == "kube-system" || before.name() == "kube-public") {
    return forbidden(before.kind(), before.name(), "this namespace may not be deleted");
  }
  const auto* spec = before.as<api::core_v1::Namespace>()->spec();
  const bool finalized = spec == nullptr || spec->finalizers() == nullptr || spec->finalizers()->size() == 0;
  const bool held = before.meta()->finalizers() != nullptr && before.meta()->finalizers()->size() > 0;
  if (finalized && !held) return erase_now(context, before);
  model::Draft draft(before);
  if (!before.meta()->deletion_timestamp()) draft.set("metadata.deletionTimestamp", request.now);
  draft.set("status.phase", "Terminating");
  Plan plan = wait_for(before, draft);
  plan.operations.push_back({.kind = state::Operation::Kind::kClaim,
                             .uid = std::string(before.uid()),
                             .text = terminating_claim(before.name())});
  return plan;
}

}  // namespace

std::string terminating_claim(std::string_view ns) { return fmt::format("terminating/{}", ns); }

bool is_terminating(const Object& ns) {
  const auto* status = ns.as<api::core_v1::Namespace>()->status();
  return ns.meta()->deletion_timestamp().has_value() || (status != nullptr && str(status->phase()) == "Terminating");
}

std::vector<state::Operation> releases(const Context& context, const Object& last) {
  if (last.kind().resource == "services") return context.allocator.release(last);
  if (last.kind().resource != "namespaces") return {};
  return {{.kind = state::Operation::Kind::kRelease,
           .uid = std::string(last.uid()),
           .text = terminating_claim(last.name())}};
}

namespace {

Result<Plan> plan_removal(const Context& context, Request& request, const Object& before) {
  if (auto checked = check_preconditions(request, before); !checked.ok()) return checked.error();
  if (before.kind().resource == "namespaces") return delete_namespace(context, request, before);
  const auto* meta = before.meta();
  int64_t grace = grace_of(request, before);
  if (meta->deletion_timestamp()) {
    // A second delete may shorten the time that is left, never lengthen it; one without a wish changes nothing.
    const int64_t current = meta->deletion_grace_period_seconds().value_or(0);
    grace = before.kind().resource == "pods" && !request.command.grace_period_seconds && grace > 0
                ? current
                : std::min(grace, current);
  }
  const auto finalizers = finalizers_of(before, request.command.propagation);
  if (finalizers.empty() && grace == 0) return erase_now(context, before);
  model::Draft draft(before);
  draft.clear("metadata.finalizers");
  for (const auto& f : finalizers) draft.set("metadata.finalizers[+]", f);
  const bool first = !meta->deletion_timestamp();
  if (first || meta->deletion_grace_period_seconds().value_or(0) != grace) {
    const int64_t start =
        first ? request.now : meta->deletion_timestamp().value() - meta->deletion_grace_period_seconds().value_or(0);
    draft.set("metadata.deletionTimestamp", start + grace);
    draft.set("metadata.deletionGracePeriodSeconds", grace);
    if (first && has_generation(before.kind())) draft.set("metadata.generation", meta->generation().value_or(0) + 1);
  }
  return wait_for(before, draft);
}

}  // namespace

Result<Plan> plan_delete(const Context& context, Request& request, const Object& before) {
  return admitted(context, request, before, plan_removal(context, request, before));
}

}  // namespace gantry::apigw
