// Create serviceaccounts/token.
#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "libs/base/ids.h"
#include "libs/model/json.h"
#include "schemas/api/authentication_v1_generated.h"
#include "schemas/api/core_v1_generated.h"
#include "services/apigw/core/access.h"
#include "services/apigw/core/decode.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {
namespace {

using model::Object;
using model::str;
using nlohmann::json;
namespace authn = api::authentication_v1;

constexpr int64_t kDefaultSeconds = 3600, kMinSeconds = 600, kMaxSeconds = int64_t{1} << 32;
// What the volume kube-api-access asks for: such tokens are renewed by agents, and live a year in case they are not.
constexpr int64_t kVolumeSeconds = 3607, kExtendedSeconds = int64_t{365} * 24 * 3600;

const model::Kind& kind_of(const World& world, const char* resource) { return world.find(resource)->kind(); }

// Fills in what the token is bound to; the error if that is not there.
Status bind_to(const World& world, const authn::BoundObjectReference& reference, TokenClaims& claims) {
  const std::string_view kind = str(reference.kind()), version = str(reference.api_version());
  const bool pod = kind == "Pod" && version == "v1", secret = kind == "Secret" && version == "v1";
  const bool node = kind == "Node" && version == "v1";
  if (!pod && !secret && !node) {
    return bad_request(fmt::format("cannot bind token to object of type {}, Kind={}", version, kind));
  }
  const char* resource = pod ? "pods" : secret ? "secrets" : "nodes";
  const Object* object = world.find(resource)->find(node ? std::string_view() : claims.ns, str(reference.name()));
  if (object == nullptr) return not_found(kind_of(world, resource), str(reference.name()));
  if (!str(reference.uid()).empty() && str(reference.uid()) != object->uid()) {
    return conflict(
        object->kind(), object->name(),
        fmt::format("the UID in the bound object reference ({}) does not match the UID in record. The object "
                    "might have been deleted and then recreated",
                    str(reference.uid())));
  }
  BoundObject bound{std::string(object->name()), std::string(object->uid())};
  if (secret) claims.secret = bound;
  if (node) claims.node = bound;
  if (!pod) return Done{};
  claims.pod = bound;
  const auto* spec = object->as<api::core_v1::Pod>()->spec();
  if (spec == nullptr || str(spec->service_account_name()) != claims.name) {
    return bad_request(fmt::format(
        "cannot bind token for serviceaccount \"{}\" to pod running with different serviceaccount name.", claims.name));
  }
  if (const std::string_view on = str(spec->node_name()); !on.empty()) {
    const Object* there = world.find("nodes")->find("", on);
    claims.node = {std::string(on), there == nullptr ? std::string() : std::string(there->uid())};
  }
  return Done{};
}

// A node asks for what its pods need and for nothing else.
Status check_node(const World& world, const Identity& identity, const authn::BoundObjectReference* reference,
                  const TokenClaims& claims) {
  if (identity.node.empty()) return Done{};
  const auto refuse = [&](std::string_view why) {
    return forbidden(kind_of(world, "serviceaccounts"), claims.name, why);
  };
  if (reference == nullptr) return refuse("node requested token not bound to a pod");
  if (claims.pod.name.empty()) return refuse("node requested token not bound to a pod");
  if (str(reference->uid()).empty()) return refuse("node requested token with a pod binding without a uid");
  if (claims.node.name != identity.node)
    return refuse("node requested token bound to a pod scheduled on a different node");
  return Done{};
}

}  // namespace

void Access::request_token(const RequestPtr& request) {
  const auto again = [this, request](Status status) {
    if (!status.ok()) return request->done(status.error());
    request->done(issue(*request));
  };
  world_.at_head_of("serviceaccounts", alive_.guard([this, request, again](Status status) {
    if (!status.ok()) return request->done(status.error());
    auto answer = issue(*request);
    if (answer.ok() ||
        (answer.code() != Code::kNotFound && answer.code() != Code::kConflict && answer.code() != Code::kForbidden))
      return request->done(std::move(answer));
    // The pod that the token is to be bound to, or its node, may not be seen yet.
    world_.at_head_of("pods", alive_.guard(again));
  }));
}

Result<Answer> Access::issue(Request& request) const {
  static const model::Kind& kKind = *model::Schema::get().by_kind("authentication.k8s.io", "v1", "TokenRequest");
  const auto& command = request.command;
  request.warnings.clear();
  auto body = decode_body(kKind, command, config_.max_object_bytes, &request.warnings);
  if (!body.ok()) return std::move(body.error());
  const Object* account = world_.find("serviceaccounts")->find(command.ns, command.name);
  if (account == nullptr) return not_found(*request.kind, command.name);
  if (!authenticator_.tokens().can_issue()) {
    return Error{Code::kForbidden,
                 "this gateway has no key to sign tokens with: see --service-account-signing-key-file"};
  }
  const auto* spec = body->as<authn::TokenRequest>()->spec();
  int64_t seconds = spec == nullptr ? kDefaultSeconds : spec->expiration_seconds().value_or(kDefaultSeconds);
  Problems problems;
  if (seconds < kMinSeconds)
    problems.invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes");
  if (seconds > kMaxSeconds)
    problems.invalid("spec.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds");
  if (!problems.empty()) return problems.error(kKind, command.name);
  const auto& config = authenticator_.tokens().config();
  TokenClaims claims;
  claims.ns = command.ns;
  claims.name = command.name;
  claims.uid = account->uid();
  const auto* reference = spec == nullptr ? nullptr : spec->bound_object_ref();
  if (reference != nullptr) {
    if (auto bound = bind_to(world_, *reference, claims); !bound.ok()) return bound.error();
  }
  if (auto checked = check_node(world_, request.identity, reference, claims); !checked.ok()) return checked.error();
  if (spec != nullptr && spec->audiences() != nullptr) {
    for (const auto* audience : *spec->audiences()) claims.audiences.emplace_back(str(audience));
  }
  if (claims.audiences.empty()) claims.audiences = config.audiences;
  if (config.max_seconds > 0) seconds = std::min(seconds, config.max_seconds);
  claims.id = new_uid();
  claims.issued = claims.not_before = request.now;
  claims.expires = request.now + seconds;
  if (config.extend && seconds == kVolumeSeconds && !claims.pod.name.empty() && claims.audiences == config.audiences) {
    claims.warn_after = claims.expires;
    claims.expires = request.now + kExtendedSeconds;
  }
  json tree = model::to_tree(*body);
  tree["metadata"] = {
      {"name", command.name}, {"namespace", command.ns}, {"creationTimestamp", model::format_time(request.now)}};
  tree["spec"]["audiences"] = claims.audiences;
  tree["spec"]["expirationSeconds"] = seconds;
  tree["status"] = {{"token", command.dry_run ? std::string() : authenticator_.tokens().issue(claims)},
                    {"expirationTimestamp", model::format_time(request.now + seconds)}};
  auto bytes = model::from_tree(kKind, tree);
  if (!bytes.ok()) return std::move(bytes.error());
  Answer answer;
  answer.outcome = Answer::Outcome::kCreated;
  answer.kind = &kKind;
  answer.object = Object(kKind, std::move(*bytes));
  answer.warnings = request.warnings;
  return answer;
}

}  // namespace gantry::apigw
