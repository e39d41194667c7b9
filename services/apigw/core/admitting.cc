#include "services/apigw/core/admitting.h"

#include "libs/base/ids.h"
#include "schemas/api/core_v1_generated.h"
#include "services/apigw/authz/escalation.h"
#include "services/apigw/core/access.h"
#include "services/apigw/core/signers.h"
#include "services/apigw/core/token_secret.h"

namespace gantry::apigw {
namespace {

using model::Object;

Status check_grants(const Context& context, const Request& request, const Object& after, const Object& before) {
  const auto& kind = after.kind();
  if (kind.group != "rbac.authorization.k8s.io" || !request.command.subresource.empty()) return Done{};
  const bool role = kind.resource == "roles" || kind.resource == "clusterroles";
  return role ? check_role(request.identity, after, before, context.world.rbac(), context.world)
              : check_binding(request.identity, after, before, context.world.rbac(), context.world);
}

Object stamped(const char* resource, std::string_view ns, const char* name, int64_t now,
               const std::function<void(model::Draft&)>& fill) {
  model::Draft draft(*model::Schema::get().by_resource(resource));
  draft.set("metadata.name", name);
  draft.set("metadata.namespace", ns);
  draft.set("metadata.uid", new_uid());
  draft.set("metadata.creationTimestamp", now);
  fill(draft);
  return draft.build();
}

}  // namespace

AdmissionRequest admission_for(const Context& context, const Request& request, const Object& before) {
  return {.objects = context.world,
          .identity = request.identity,
          .kind = *request.kind,
          .ns = request.command.ns,
          .subresource = request.command.subresource,
          .before = before,
          .now = request.now,
          .automount = context.config.automount && !context.config.root_ca_pem.empty()};
}

Status admit_plan(const Context& context, Request& request, AdmissionRequest& admission, Plan& plan) {
  const Object object = plan.kind == Plan::Kind::kErase ? Object() : plan.after;
  auto said = admit(admission, object);
  if (said.ok() && object) said = check_grants(context, request, object, admission.before);
  request.unsure = admission.unsure;
  if (said.ok() && object) {
    said = check_signer(context, request, object, admission.before);
    if (!said.ok()) request.unsure = access_resources();  // who may sign may be known elsewhere already
  }
  request.pending = admission.pending;
  if (!said.ok()) return said;
  request.warnings.insert(request.warnings.end(), admission.warnings.begin(), admission.warnings.end());
  plan.guards.insert(plan.guards.end(), admission.guards.begin(), admission.guards.end());
  plan.operations.insert(plan.operations.end(), admission.operations.begin(), admission.operations.end());
  return Done{};
}

Result<Plan> admitted(const Context& context, Request& request, const Object& before, Result<Plan> plan) {
  request.unsure.clear();
  request.pending = false;
  if (!plan.ok() || plan->kind == Plan::Kind::kNothing) return plan;
  AdmissionRequest admission = admission_for(context, request, before);
  if (plan->kind == Plan::Kind::kPut) {
    auto complete = with_token(context, request, plan->after);
    if (!complete.ok()) return std::move(complete.error());
    auto changed = admit_changes(admission, *complete);
    if (!changed.ok()) return std::move(changed.error());
    plan->after = std::move(*changed);
  }
  if (auto said = admit_plan(context, request, admission, *plan); !said.ok()) return said.error();
  return plan;
}

std::vector<Object> namespace_content(const Context& context, const Request& request, std::string_view ns) {
  std::vector<Object> content{stamped("serviceaccounts", ns, "default", request.now, [](model::Draft&) {})};
  if (context.config.root_ca_pem.empty()) return content;
  content.push_back(stamped("configmaps", ns, "kube-root-ca.crt", request.now, [&](model::Draft& draft) {
    draft.set("metadata.annotations[kubernetes.io/description]",
              "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints "
              "such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across "
              "distributions of Kubernetes clusters.");
    draft.set("data[ca.crt]", context.config.root_ca_pem);
  }));
  return content;
}

}  // namespace gantry::apigw
