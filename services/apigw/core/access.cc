#include "services/apigw/core/access.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "schemas/api/authentication_v1_generated.h"
#include "schemas/api/authorization_v1_generated.h"
#include "services/apigw/core/decode.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {
namespace {

using model::Object;
using model::str;
using nlohmann::json;
namespace authz = api::authorization_v1;

template <typename Strings>
std::vector<std::string> strings(const Strings* values) {
  std::vector<std::string> out;
  if (values == nullptr) return out;
  for (const auto* value : *values) out.emplace_back(str(value));
  return out;
}

// The review as it came, with its status.
Result<Answer> reviewed(const Request& request, const Object& body, const json& status) {
  json tree = model::to_tree(body);
  tree["status"] = status;
  if (!tree.contains("metadata")) tree["metadata"] = json::object();
  auto bytes = model::from_tree(*request.kind, tree);
  if (!bytes.ok()) return std::move(bytes.error());
  Answer answer;
  answer.outcome = Answer::Outcome::kCreated;
  answer.kind = request.kind;
  answer.object = Object(*request.kind, std::move(*bytes));
  answer.warnings = request.warnings;
  return answer;
}

Attributes attributes_of(const authz::ResourceAttributes& r) {
  Attributes a;
  a.verb = str(r.verb());
  a.group = str(r.group());
  a.resource = str(r.resource());
  a.subresource = str(r.subresource());
  a.ns = str(r.namespace_());
  a.name = str(r.name());
  return a;
}

Attributes attributes_of(const authz::NonResourceAttributes& n) {
  Attributes a;
  a.verb = str(n.verb());
  a.path = str(n.path()).empty() ? "/" : str(n.path());
  return a;
}

template <typename Spec>
Result<Attributes> asked(const Request& request, const Spec* spec) {
  Problems problems;
  const auto* resource = spec == nullptr ? nullptr : spec->resource_attributes();
  const auto* path = spec == nullptr ? nullptr : spec->non_resource_attributes();
  if (resource != nullptr && path != nullptr)
    problems.invalid("spec.nonResourceAttributes", str(path->path()),
                     "cannot be specified in combination with resourceAttributes");
  if (resource == nullptr && path == nullptr)
    problems.invalid_json("spec.resourceAttributes", "null",
                          "exactly one of nonResourceAttributes or resourceAttributes must be specified");
  if (!problems.empty()) return problems.error(*request.kind, "");
  return resource != nullptr ? attributes_of(*resource) : attributes_of(*path);
}

Result<Identity> subject_of(const Request& request, const authz::SubjectAccessReviewSpec* spec) {
  Identity identity;
  if (spec != nullptr) {
    identity.user = str(spec->user());
    identity.groups = strings(spec->groups());
    identity.uid = str(spec->uid());
    if (spec->extra() != nullptr) {
      for (const auto* entry : *spec->extra()) identity.extra[std::string(str(entry->key()))] = strings(entry->value());
    }
  }
  if (identity.user.empty() && identity.groups.empty()) {
    Problems problems;
    problems.invalid("spec.user", "", "at least one of user or group must be specified");
    return problems.error(*request.kind, "");
  }
  constexpr std::string_view kNode = "system:node:";
  if (identity.user.starts_with(kNode) && identity.in_group("system:nodes"))
    identity.node = identity.user.substr(kNode.size());
  return identity;
}

}  // namespace

std::vector<std::string> access_resources() { return {"roles", "clusterroles", "rolebindings", "clusterrolebindings"}; }

json user_info(const Identity& identity) {
  json user{{"username", identity.user}, {"groups", identity.groups}};
  if (!identity.uid.empty()) user["uid"] = identity.uid;
  for (const auto& [key, values] : identity.extra) user["extra"][key] = values;
  return user;
}

void Access::review(const RequestPtr& request) {
  request->warnings.clear();
  auto body = decode_body(*request->kind, request->command, config_.max_object_bytes, &request->warnings);
  if (!body.ok()) return request->done(std::move(body.error()));
  const std::string& what = request->kind->resource;
  if (what == "tokenreviews") return token_review(request, *body);
  // An answer is as good as the roles that it is read from.
  world_.at_heads_of(access_resources(), alive_.guard([this, request, body = *body, what](Status status) {
    if (!status.ok()) return request->done(status.error());
    if (what == "selfsubjectreviews")
      return request->done(reviewed(*request, body, {{"userInfo", user_info(request->identity)}}));
    if (what == "selfsubjectrulesreviews") return request->done(rules_review(*request, body));
    request->done(access_review(*request, body));
  }));
}

Result<Answer> Access::access_review(Request& request, const Object& body) const {
  const std::string& what = request.kind->resource;
  const bool self = what == "selfsubjectaccessreviews";
  const auto* other_spec = self ? nullptr : body.as<authz::SubjectAccessReview>()->spec();
  const auto attributes =
      self ? asked(request, body.as<authz::SelfSubjectAccessReview>()->spec()) : asked(request, other_spec);
  if (!attributes.ok()) return attributes.error();
  auto subject = self ? Result<Identity>(request.identity) : subject_of(request, other_spec);
  if (!subject.ok()) return std::move(subject.error());
  if (what == "localsubjectaccessreviews" && (!attributes->path.empty() || attributes->ns != request.command.ns)) {
    Problems problems;
    problems.invalid("spec.resourceAttributes.namespace", attributes->ns, "must match metadata.namespace");
    return problems.error(*request.kind, "");
  }
  std::string reason;
  const bool yes = allowed(*subject, *attributes, world_, &reason);
  json status{{"allowed", yes}};
  if (!reason.empty()) status["reason"] = reason;
  return reviewed(request, body, status);
}

Result<Answer> Access::rules_review(Request& request, const Object& body) const {
  const auto* spec = body.as<authz::SelfSubjectRulesReview>()->spec();
  const std::string_view ns = spec == nullptr ? std::string_view() : str(spec->namespace_());
  if (ns.empty()) return bad_request("no namespace on request");
  json resources = json::array(), paths = json::array();
  auto rules = world_.rbac().rules_of(request.identity, ns);
  if (request.identity.in_group("system:masters")) {
    rules.push_back({{"*"}, {"*"}, {"*"}, {}, {}});
    rules.push_back({{"*"}, {}, {}, {}, {"*"}});
  }
  std::vector<Rule> told;
  for (const auto& rule : rules) {
    if (std::find(told.begin(), told.end(), rule) != told.end()) continue;
    told.push_back(rule);
    if (!rule.urls.empty()) paths.push_back({{"verbs", rule.verbs}, {"nonResourceURLs", rule.urls}});
    if (rule.resources.empty()) continue;
    json one{{"verbs", rule.verbs}, {"apiGroups", rule.groups}, {"resources", rule.resources}};
    if (!rule.names.empty()) one["resourceNames"] = rule.names;
    resources.push_back(std::move(one));
  }
  json status{{"resourceRules", resources}, {"nonResourceRules", paths}, {"incomplete", false}};
  if (!request.identity.node.empty() || request.identity.user.starts_with("system:gantry:")) {
    status["incomplete"] = true;
    status["evaluationError"] = "node authorizer does not support user rule resolution";
  }
  return reviewed(request, body, status);
}

void Access::token_review(const RequestPtr& request, const Object& body) {
  const auto* spec = body.as<api::authentication_v1::TokenReview>()->spec();
  const std::string token(spec == nullptr ? std::string_view() : str(spec->token()));
  if (token.empty()) return request->done(bad_request("token is required for TokenReview in authentication"));
  authenticator_.review(
      token, strings(spec->audiences()), request->now,
      alive_.guard([request, body](Result<Authenticator::Reviewed> result) {
        if (!result.ok() && result.code() != Code::kUnauthorized) return request->done(result.error());
        json status = json::object();
        if (result.ok()) {
          status = {{"authenticated", true}, {"user", user_info(result->identity)}, {"audiences", result->audiences}};
        } else {
          status = {{"user", json::object()},
                    {"error", fmt::format("[invalid bearer token, {}]", result.error().message)}};
        }
        request->done(reviewed(*request, body, status));
      }));
}

}  // namespace gantry::apigw
