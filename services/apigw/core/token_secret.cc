#include "services/apigw/core/token_secret.h"

#include <fmt/format.h>

#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::apigw {
namespace {

constexpr const char* kName = "kubernetes.io/service-account.name";
constexpr const char* kUid = "kubernetes.io/service-account.uid";

bool has(const api::core_v1::Secret& secret, const char* key) {
  const auto* entry = secret.data() == nullptr ? nullptr : secret.data()->LookupByKey(key);
  return entry != nullptr && entry->value() != nullptr && entry->value()->size() > 0;
}

}  // namespace

Result<model::Object> with_token(const Context& context, Request& request, const model::Object& object) {
  if (object.kind().resource != "secrets" || request.command.dry_run || !context.tokens.can_issue()) return object;
  const auto& secret = *object.as<api::core_v1::Secret>();
  const std::string_view name = model::annotation(object.meta(), kName), uid = model::annotation(object.meta(), kUid);
  if (model::str(secret.type()) != "kubernetes.io/service-account-token" || name.empty() ||
      (has(secret, "token") && has(secret, "ca.crt") && has(secret, "namespace")))
    return object;
  const model::Object* account = context.world.find_object("serviceaccounts", object.ns(), name);
  if (account == nullptr || (!uid.empty() && account->uid() != uid)) {
    if (!request.looked) {
      request.unsure = {"serviceaccounts"};
      return Error{Code::kNotFound, fmt::format("serviceaccounts \"{}\" not found", name)};
    }
    request.warnings.push_back(
        fmt::format("there is no service account \"{}\" for this Secret to have a token of", name));
    return object;
  }
  model::Draft draft(object);
  draft.set(fmt::format("metadata.annotations[{}]", kUid), account->uid());
  if (!has(secret, "token")) {
    TokenClaims claims;
    claims.legacy = true;
    claims.ns = object.ns();
    claims.name = name;
    claims.uid = account->uid();
    claims.secret = {std::string(object.name()), std::string(object.uid())};
    draft.set("data[token]", context.tokens.issue(claims));
  }
  if (!has(secret, "namespace")) draft.set("data[namespace]", object.ns());
  if (!has(secret, "ca.crt") && !context.config.root_ca_pem.empty())
    draft.set("data[ca.crt]", context.config.root_ca_pem);
  return draft.build();
}

}  // namespace gantry::apigw
