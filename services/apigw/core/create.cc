#include <fmt/format.h>
#include <glog/logging.h>

#include "schemas/api/core_v1_generated.h"
#include "services/apigw/core/access.h"
#include "services/apigw/core/admitting.h"
#include "services/apigw/core/decode.h"
#include "services/apigw/core/managers.h"
#include "services/apigw/core/metadata.h"
#include "services/apigw/core/planners.h"
#include "services/apigw/core/token_secret.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

// The status that a new object starts with.
void first_status(model::Draft& draft, const model::Object& given, const Identity& identity) {
  const std::string& resource = given.kind().resource;
  if (resource == "persistentvolumes" || resource == "persistentvolumeclaims") draft.set("status.phase", "Pending");
  if (resource == "certificatesigningrequests") {
    // Who asks is not for the request to say.
    draft.set("spec.username", identity.user);
    for (const char* field : {"spec.uid", "spec.groups", "spec.extra"}) draft.clear(field);
    for (const auto& group : identity.groups) draft.set("spec.groups[+]", group);
  }
  if (resource == "pods") {
    draft.set("status.phase", "Pending");
  }
  if (resource == "namespaces") {
    draft.set("status.phase", "Active");
    draft.clear("spec.finalizers");
    draft.set("spec.finalizers[+]", "kubernetes");
  }
  if (resource == "deployments" || resource == "replicasets") draft.set_empty("status");
  if (resource == "services") draft.set_empty("status.loadBalancer");
}

// An update or a configuration that creates needs both rights.
Status check_creation(const Context& context, Request& request) {
  const auto& command = request.command;
  if (command.verb == bus::Verb::Create) return Done{};
  auto may = authorize(request.identity, {"create", command.resource, "", command.ns, command.name, "", false, {}},
                       context.world);
  request.unsure = may.ok() ? std::vector<std::string>() : access_resources();
  return may;
}

// What is to be created: the body, a configuration that is applied, or an update of what is not there.
Result<model::Object> new_body(const Context& context, Request& request, model::ManagedFields& owners) {
  if (!is_apply(request))
    return decode_body(*request.kind, request.command, context.config.max_object_bytes, &request.warnings);
  auto applied = apply_configuration(context, request, {});
  if (!applied.ok()) return std::move(applied.error());
  if (const auto uid = applied->object.uid(); !uid.empty()) {
    return conflict(
        *request.kind, request.command.name,
        fmt::format("uid mismatch: the provided object specified uid {}, and no existing object was found", uid));
  }
  owners = std::move(applied->owners);
  return std::move(applied->object);
}

}  // namespace

bool is_apply(const Request& request) {
  return request.command.verb == bus::Verb::Patch && request.command.patch_type == bus::PatchType::Apply;
}

bool may_create(const Request& request) {
  if (!request.command.subresource.empty()) return false;
  if (is_apply(request)) return true;
  if (request.command.verb != bus::Verb::Update) return false;
  static constexpr std::string_view kKinds[] = {"services",     "endpoints",    "limitranges",
                                                "events",       "leases",       "roles",
                                                "rolebindings", "clusterroles", "clusterrolebindings"};
  return std::find(std::begin(kKinds), std::end(kKinds), request.kind->resource) != std::end(kKinds);
}

Result<Plan> plan_create(const Context& context, Request& request) {
  request.warnings.clear();
  if (auto may = check_creation(context, request); !may.ok()) return may.error();
  model::ManagedFields owners;
  auto given = new_body(context, request, owners);
  if (!given.ok()) return std::move(given.error());
  model::Draft draft(*given);
  if (auto prepared = prepare_create(request, *given, draft); !prepared.ok()) return prepared.error();
  set_defaults(draft, *given);
  if (is_apply(request)) {
    model::write_managed_fields(draft, std::move(owners));
  } else if (tracked(request)) {
    note_creation(request, *given, draft.build(), draft);
  }
  first_status(draft, *given, request.identity);
  Plan plan;
  plan.kind = Plan::Kind::kPut;
  plan.outcome = Answer::Outcome::kCreated;
  plan.after = draft.build();
  request.unsure.clear();
  auto complete = with_token(context, request, plan.after);
  if (!complete.ok()) return std::move(complete.error());
  plan.after = std::move(*complete);
  AdmissionRequest admission = admission_for(context, request, {});
  auto changed = admit_changes(admission, plan.after);
  request.unsure = admission.unsure;
  if (!changed.ok()) return std::move(changed.error());
  plan.after = std::move(*changed);
  // The name came with the body, so that authorization could not look at it.
  const bool own =
      request.kind->resource == "nodes" || request.kind->resource == "leases" || request.kind->resource == "csinodes";
  if (own && !request.identity.node.empty() && plan.after.name() != request.identity.node) {
    return forbidden(*request.kind, plan.after.name(),
                     fmt::format("node \"{}\" is not allowed to create {} \"{}\"", request.identity.node,
                                 request.kind->resource, plan.after.name()));
  }
  Problems problems;
  validate(plan.after, problems);
  if (request.kind->resource == "services" && problems.empty()) {
    model::Draft allocated(plan.after);
    plan.operations = context.allocator.allocate(allocated, plan.after, {}, problems);
    plan.after = allocated.build();
  }
  if (!problems.empty()) return problems.error(*request.kind, plan.after.name());
  if (request.kind->resource == "namespaces" && !request.alone)
    plan.also = namespace_content(context, request, plan.after.name());
  if (auto said = admit_plan(context, request, admission, plan); !said.ok()) return said.error();
  return plan;
}

}  // namespace gantry::apigw
