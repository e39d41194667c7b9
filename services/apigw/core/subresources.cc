#include <fmt/format.h>

#include "libs/model/json.h"
#include "libs/model/walk.h"
#include "schemas/api/autoscaling_v1_generated.h"
#include "schemas/api/core_v1_generated.h"
#include "services/apigw/admission/admission.h"
#include "services/apigw/core/replace.h"
#include "services/apigw/core/scale.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

using model::Object;
using model::str;
namespace core = api::core_v1;

// Conditions that are there or not: a node that says nothing of them takes them away.
bool comes_and_goes(std::string_view condition) {
  return condition == "PodResizePending" || condition == "PodResizeInProgress";
}

// A node reports what it sees; conditions that others have set stay.
template <typename T>
void keep_conditions(model::Draft& draft, const Object& given, const Object& before) {
  const auto* old_status = before.as<T>()->status();
  const auto* new_status = given.as<T>()->status();
  if (old_status == nullptr || old_status->conditions() == nullptr) return;
  for (const auto* old : *old_status->conditions()) {
    bool said = comes_and_goes(str(old->type()));
    if (new_status != nullptr && new_status->conditions() != nullptr) {
      for (const auto* condition : *new_status->conditions()) said = said || str(condition->type()) == str(old->type());
    }
    if (!said) draft.copy("status.conditions[+]", old);
  }
}

// `field` of `part` as `given` has it, absent included.
void take(model::Draft& draft, std::string_view part_name, std::string_view field, const Object& given) {
  if (const auto* source = part(given, part_name); source != nullptr) {
    draft.copy_field(part_name, field, source);
  } else {
    draft.clear(fmt::format("{}.{}", part_name, field));
  }
}

const core::EphemeralContainer* ephemeral(const core::PodSpec* spec, std::string_view name) {
  if (spec == nullptr || spec->ephemeral_containers() == nullptr) return nullptr;
  for (const auto* container : *spec->ephemeral_containers()) {
    if (str(container->name()) == name) return container;
  }
  return nullptr;
}

}  // namespace

Result<Plan> update_status(const Context& context, Request& request, const Object& before) {
  auto replaced = replacement(context, request, before, before);
  if (!replaced.ok()) return std::move(replaced.error());
  const Object& given = replaced->given;
  model::Draft draft(before);
  draft.copy_field("", "status", given.root());
  if (request.command.sequence_number != 0 && request.command.verb == bus::Verb::Update) {
    if (before.kind().resource == "pods") keep_conditions<core::Pod>(draft, given, before);
    if (before.kind().resource == "nodes") keep_conditions<core::Node>(draft, given, before);
  }
  // What the gateway has said itself stays, whoever leaves it out.
  if (const auto qos = model::text_at(before, "status.qosClass");
      before.kind().resource == "pods" && !qos.empty() && model::text_at(given, "status.qosClass").empty())
    draft.set("status.qosClass", qos);
  Object after = with_owners(request, before, nullptr, std::move(replaced->owners), draft.build());
  Problems problems;
  // An agent reports what it sees, whatever was seen before.
  if (request.command.sequence_number == 0) validate_update(after, before, "status", problems);
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
  int32_t replicas = scaled_to(before);
  std::optional<model::ManagedFields> owners;
  if (is_apply(request)) {
    auto applied = apply_scale(request, before);
    if (!applied.ok()) return std::move(applied.error());
    replicas = applied->replicas.value_or(replicas);
    owners = std::move(applied->owners);
  } else {
    auto replaced = replacement(context, request, *current, before);
    if (!replaced.ok()) return std::move(replaced.error());
    const auto* spec = replaced->given.as<api::autoscaling_v1::Scale>()->spec();
    replicas = spec == nullptr ? 0 : spec->replicas().value_or(0);
  }
  Problems problems;
  if (replicas < 0) problems.invalid("spec.replicas", replicas, "must be greater than or equal to 0");
  if (!problems.empty()) return problems.error(scale_kind(), before.name());
  model::Draft draft(before);
  draft.set("spec.replicas", replicas);
  Object after = with_owners(request, before, nullptr, std::move(owners), draft.build());
  Plan plan = settle(context, before, with_generation(before, std::move(after)));
  plan.present = present_scale;
  return plan;
}

Result<Plan> update_finalizers(const Context& context, Request& request, const Object& before) {
  auto replaced = replacement(context, request, before, before);
  if (!replaced.ok()) return std::move(replaced.error());
  model::Draft draft(before);
  draft.copy_field("", "spec", replaced->given.root());
  return settle(context, before, with_owners(request, before, nullptr, std::move(replaced->owners), draft.build()));
}

Result<Plan> update_ephemeral_containers(const Context& context, Request& request, const Object& before) {
  auto replaced = replacement(context, request, before, before);
  if (!replaced.ok()) return std::move(replaced.error());
  model::Draft draft(before);
  take(draft, "spec", "ephemeralContainers", replaced->given);
  set_defaults(draft, draft.build());
  Object after = with_owners(request, before, nullptr, std::move(replaced->owners), draft.build());
  Problems problems;
  const auto* old = before.as<core::Pod>()->spec();
  const auto* now = after.as<core::Pod>()->spec();
  const model::Type& type = *model::Schema::get().type("gantry.api.core_v1.EphemeralContainer");
  for (flatbuffers::uoffset_t i = 0;
       old != nullptr && old->ephemeral_containers() != nullptr && i < old->ephemeral_containers()->size(); ++i) {
    const auto* container = old->ephemeral_containers()->Get(i);
    const auto* kept = ephemeral(now, str(container->name()));
    if (kept == nullptr) {
      problems.forbidden("spec.ephemeralContainers", fmt::format("existing ephemeral containers {} may not be removed",
                                                                 quoted(str(container->name()))));
    } else if (!model::equal(type, reinterpret_cast<const flatbuffers::Table*>(kept),
                             reinterpret_cast<const flatbuffers::Table*>(container))) {
      problems.forbidden("spec.ephemeralContainers", fmt::format("existing ephemeral containers {} may not be changed",
                                                                 quoted(str(container->name()))));
    }
  }
  validate(after, problems);
  if (!problems.empty()) return problems.error(before.kind(), before.name());
  return settle(context, before, with_generation(before, std::move(after)));
}

Result<Plan> update_resources(const Context& context, Request& request, const Object& before) {
  auto replaced = replacement(context, request, before, before);
  if (!replaced.ok()) return std::move(replaced.error());
  model::Draft draft(before);
  for (const char* list : {"containers", "initContainers"}) {
    for (size_t i = 0;; ++i) {
      const std::string path = fmt::format("spec.{}[{}]", list, i);
      const auto old = model::find(before, path), now = model::find(replaced->given, path);
      if (!old.present() || !now.present()) break;
      if (model::text_at(before, path + ".name") != model::text_at(replaced->given, path + ".name")) break;
      const auto resources = model::find(replaced->given, path + ".resources");
      draft.copy(path + ".resources", resources.present() ? resources.table() : nullptr);
    }
  }
  Object after = with_owners(request, before, nullptr, std::move(replaced->owners), draft.build());
  Problems problems;
  validate(after, problems);
  validate_update(after, before, "resize", problems);
  if (qos_class(after) != model::text_at(before, "status.qosClass")) {
    problems.invalid("spec", qos_class(after), "Pod QOS Class may not change as a result of resizing");
  }
  if (!problems.empty()) return problems.error(before.kind(), before.name());
  return settle(context, before, with_generation(before, std::move(after)));
}

Result<Plan> update_approval(const Context& context, Request& request, const Object& before) {
  auto replaced = replacement(context, request, before, before);
  if (!replaced.ok()) return std::move(replaced.error());
  model::Draft draft(before);
  take(draft, "status", "conditions", replaced->given);
  const Object taken = draft.build();
  for (size_t i = 0; model::find(taken, fmt::format("status.conditions[{}]", i)).present(); ++i) {
    for (const char* time : {"lastUpdateTime", "lastTransitionTime"}) {
      const std::string path = fmt::format("status.conditions[{}].{}", i, time);
      if (!model::find(taken, path).present()) draft.set(path, request.now);
    }
  }
  Object after = with_owners(request, before, nullptr, std::move(replaced->owners), draft.build());
  Problems problems;
  validate_update(after, before, "approval", problems);
  if (!problems.empty()) return problems.error(before.kind(), before.name());
  return settle(context, before, std::move(after));
}

}  // namespace gantry::apigw
