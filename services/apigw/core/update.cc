#include <fmt/format.h>

#include "libs/model/json.h"
#include "libs/model/selector.h"
#include "schemas/api/apps_v1_generated.h"
#include "schemas/api/autoscaling_v1_generated.h"
#include "schemas/api/core_v1_generated.h"
#include "services/apigw/core/decode.h"
#include "services/apigw/core/metadata.h"
#include "services/apigw/core/planners.h"
#include "services/apigw/core/scale.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

using model::Object;
using model::str;

// The body that is to replace `target`: sent whole, or `target` with a patch applied.
Result<Object> replacement(const Context& context, Request& request, const Object& target) {
  request.warnings.clear();
  const size_t max = context.config.max_object_bytes;
  if (request.command.verb == bus::Verb::Patch) return apply_patch(target, request.command, max, &request.warnings);
  return decode_body(target.kind(), request.command, max, &request.warnings);
}

// Nothing keeps a deleted object any more: no finalizer, no running containers.
bool goes_now(const Object& object) {
  const auto* meta = object.meta();
  if (!meta->deletion_timestamp()) return false;
  if (meta->finalizers() != nullptr && meta->finalizers()->size() > 0) return false;
  if (meta->deletion_grace_period_seconds().value_or(0) > 0) return false;
  if (object.kind().resource != "namespaces") return true;
  const auto* spec = object.as<api::core_v1::Namespace>()->spec();
  return spec == nullptr || spec->finalizers() == nullptr || spec->finalizers()->size() == 0;
}

Plan settle(const Context& context, const Object& before, Object after) {
  Plan plan;
  plan.after = std::move(after);
  if (goes_now(plan.after)) {
    plan.kind = Plan::Kind::kErase;
    plan.operations = releases(context, plan.after);
    return plan;
  }
  const auto& type = *before.kind().type;
  plan.kind = model::equal(type, plan.after.root(), before.root()) ? Plan::Kind::kNothing : Plan::Kind::kPut;
  if (plan.kind == Plan::Kind::kNothing) plan.after = before;
  return plan;
}

Result<Plan> update_object(const Context& context, Request& request, const Object& before) {
  auto given = replacement(context, request, before);
  if (!given.ok()) return std::move(given.error());
  if (auto same = check_same(request, *given, before); !same.ok()) return same.error();
  model::Draft draft(*given);
  keep_metadata(draft, before);
  if (has_status(before.kind())) draft.copy_field("", "status", before.root());
  if (before.kind().resource == "namespaces") draft.copy_field("", "spec", before.root());  // only through finalize
  set_defaults(draft, *given);
  Object after = draft.build();
  Problems problems;
  std::vector<state::Operation> claims;
  if (before.kind().resource == "services") {
    model::Draft allocated(after);
    claims = context.allocator.allocate(allocated, after, before, problems);
    after = allocated.build();
  }
  validate(after, problems);
  validate_update(after, before, "", problems);
  check_finalizers(after, before, problems);
  if (!problems.empty()) return problems.error(before.kind(), before.name());
  if (has_generation(before.kind()) && !same_part(after, before, "spec")) {
    model::Draft counted(after);
    counted.set("metadata.generation", before.meta()->generation().value_or(0) + 1);
    after = counted.build();
  }
  Plan plan = settle(context, before, std::move(after));
  plan.operations.insert(plan.operations.end(), claims.begin(), claims.end());
  return plan;
}

// A node reports what it sees; conditions that others have set stay.
template <typename T>
void keep_conditions(model::Draft& draft, const Object& given, const Object& before) {
  const auto* old_status = before.as<T>()->status();
  const auto* new_status = given.as<T>()->status();
  if (old_status == nullptr || old_status->conditions() == nullptr) return;
  for (const auto* old : *old_status->conditions()) {
    bool said = false;
    if (new_status != nullptr && new_status->conditions() != nullptr) {
      for (const auto* condition : *new_status->conditions()) said = said || str(condition->type()) == str(old->type());
    }
    if (!said) draft.copy("status.conditions[+]", old);
  }
}

Result<Plan> update_status(const Context& context, Request& request, const Object& before) {
  auto given = replacement(context, request, before);
  if (!given.ok()) return std::move(given.error());
  if (auto same = check_same(request, *given, before); !same.ok()) return same.error();
  model::Draft draft(before);
  draft.copy_field("", "status", given->root());
  if (request.command.sequence_number != 0 && request.command.verb == bus::Verb::Update) {
    if (before.kind().resource == "pods") keep_conditions<api::core_v1::Pod>(draft, *given, before);
    if (before.kind().resource == "nodes") keep_conditions<api::core_v1::Node>(draft, *given, before);
  }
  Object after = draft.build();
  Problems problems;
  validate_update(after, before, "status", problems);
  if (!problems.empty()) return problems.error(before.kind(), before.name());
  Plan plan = settle(context, before, std::move(after));
  if (request.command.sequence_number != 0) {
    plan.commit_nothing = true;
    plan.guards.push_back({.kind = state::Guard::Kind::kSequence,
                           .text = std::string(before.uid()),
                           .number = request.command.sequence_epoch,
                           .number2 = request.command.sequence_number});
  }
  return plan;
}

Result<Plan> update_scale(const Context& context, Request& request, const Object& before) {
  auto current = scale_of(before);
  if (!current.ok()) return std::move(current.error());
  auto given = replacement(context, request, *current);
  if (!given.ok()) return std::move(given.error());
  if (auto same = check_same(request, *given, before); !same.ok()) return same.error();
  const auto* spec = given->as<api::autoscaling_v1::Scale>()->spec();
  const int32_t replicas = spec == nullptr ? 0 : spec->replicas().value_or(0);
  Problems problems;
  if (replicas < 0) problems.invalid("spec.replicas", replicas, "must be greater than or equal to 0");
  if (!problems.empty()) return problems.error(given->kind(), before.name());
  model::Draft draft(before);
  draft.set("spec.replicas", replicas);
  Object after = draft.build();
  if (!same_part(after, before, "spec")) {
    model::Draft counted(after);
    counted.set("metadata.generation", before.meta()->generation().value_or(0) + 1);
    after = counted.build();
  }
  Plan plan = settle(context, before, std::move(after));
  plan.present = present_scale;
  return plan;
}

Result<Plan> finalize_namespace(const Context& context, Request& request, const Object& before) {
  auto given = replacement(context, request, before);
  if (!given.ok()) return std::move(given.error());
  if (auto same = check_same(request, *given, before); !same.ok()) return same.error();
  model::Draft draft(before);
  draft.copy_field("", "spec", given->root());
  return settle(context, before, draft.build());
}

}  // namespace

Result<Plan> plan_update(const Context& context, Request& request, const Object& before) {
  const std::string& subresource = request.command.subresource;
  if (subresource.empty()) return update_object(context, request, before);
  if (subresource == "status") return update_status(context, request, before);
  if (subresource == "scale") return update_scale(context, request, before);
  return finalize_namespace(context, request, before);
}

}  // namespace gantry::apigw
