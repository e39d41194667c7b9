#include <fmt/format.h>

#include "schemas/api/core_v1_generated.h"
#include "services/apigw/convert/convert.h"
#include "services/apigw/core/admitting.h"
#include "services/apigw/core/decode.h"
#include "services/apigw/core/metadata.h"
#include "services/apigw/core/replace.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

using model::Object;

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

// Kinds whose update must say what it is based on.
bool needs_revision(const model::Kind& kind) {
  static constexpr std::string_view kKinds[] = {"poddisruptionbudgets",
                                                "runtimeclasses",
                                                "csinodes",
                                                "volumeattachments",
                                                "customresourcedefinitions",
                                                "apiservices",
                                                "mutatingwebhookconfigurations",
                                                "validatingwebhookconfigurations",
                                                "flowschemas",
                                                "prioritylevelconfigurations"};
  return std::find(std::begin(kKinds), std::end(kKinds), kind.resource) != std::end(kKinds);
}

Result<Plan> update_object(const Context& context, Request& request, const Object& before) {
  auto replaced = replacement(context, request, before, before);
  if (!replaced.ok()) return std::move(replaced.error());
  const Object& given = replaced->given;
  Problems problems;
  if (request.command.verb == bus::Verb::Update && request.command.revision == 0 &&
      !request.command.field_manager.empty() && needs_revision(before.kind()) &&
      (given.meta() == nullptr || model::str(given.meta()->resource_version()).empty())) {
    problems.invalid_json("metadata.resourceVersion", "0", "must be specified for an update");
    return problems.error(before.kind(), before.name());
  }
  model::Draft draft(given);
  keep_metadata(draft, before);
  if (has_status(before.kind())) draft.copy_field("", "status", before.root());
  if (before.kind().resource == "namespaces") draft.copy_field("", "spec", before.root());  // only through finalize
  if (before.kind().resource == "certificatesigningrequests") draft.copy_field("", "spec", before.root());
  if (before.kind().resource == "services") {
    follow_type(draft, given, before);
    set_defaults(draft, draft.build());
  } else {
    set_defaults(draft, given);
  }
  Object after = with_owners(request, before, &given, std::move(replaced->owners), draft.build());
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
  Plan plan = settle(context, before, with_generation(before, std::move(after)));
  plan.operations.insert(plan.operations.end(), claims.begin(), claims.end());
  return plan;
}

}  // namespace

Result<Replacement> replacement(const Context& context, Request& request, const Object& target, const Object& before) {
  request.warnings.clear();
  const size_t max = context.config.max_object_bytes;
  Replacement out;
  if (is_apply(request)) {
    auto applied = apply_configuration(context, request, before);
    if (!applied.ok()) return std::move(applied.error());
    out = {std::move(applied->object), std::move(applied->owners)};
  } else {
    // A patch is of the kind that was asked for, which may be stored as another.
    const bool seen = request.view != nullptr && &target.kind() == request.kind;
    auto given =
        request.command.verb == bus::Verb::Patch
            ? apply_patch(seen ? convert(target, *request.view) : target, request.command, max, &request.warnings)
            : decode_body(target.kind(), request.command, max, &request.warnings);
    if (!given.ok()) return std::move(given.error());
    out.given = convert(*given, target.kind());
  }
  if (auto same = check_same(request, out.given, before); !same.ok()) return same.error();
  return out;
}

Object with_owners(const Request& request, const Object& before, const Object* said,
                   std::optional<model::ManagedFields> owners, Object after) {
  // Services send objects as they know them: what those say about owners may be old.
  if (!tracked(request)) said = nullptr;
  // An apply that changes nothing makes no revision, whatever it did on the way (a Secret's stringData).
  if (owners && !model::equal(*before.kind().type, before.root(), after.root()))
    model::touch(*owners, writer_of(request, before.kind()));
  if (!owners) owners = note_change(request, before, said, after);
  if (!owners) return after;
  model::Draft draft(after);
  model::write_managed_fields(draft, std::move(*owners));
  return draft.build();
}

Object with_generation(const Object& before, Object after) {
  if (!has_generation(before.kind()) || same_part(after, before, "spec")) return after;
  model::Draft counted(after);
  counted.set("metadata.generation", before.meta()->generation().value_or(0) + 1);
  return counted.build();
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

Result<Plan> plan_update(const Context& context, Request& request, const Object& before) {
  const std::string& subresource = request.command.subresource;
  const auto planner = subresource.empty()                    ? update_object
                       : subresource == "status"              ? update_status
                       : subresource == "scale"               ? update_scale
                       : subresource == "finalize"            ? update_finalizers
                       : subresource == "ephemeralcontainers" ? update_ephemeral_containers
                       : subresource == "resize"              ? update_resources
                       : subresource == "approval"            ? update_approval
                                                              : nullptr;
  if (planner == nullptr)
    return Error{Code::kMethodNotAllowed, "the server does not allow this method on the requested resource"};
  return admitted(context, request, before, planner(context, request, before));
}

}  // namespace gantry::apigw
