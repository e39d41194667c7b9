#include "services/apigw/authn/service_account_tokens.h"

#include <fmt/format.h>

#include <algorithm>

#include "libs/base/ids.h"
#include "schemas/api/core_v1_generated.h"
#include "services/apigw/authn/jwt.h"

namespace gantry::apigw {
namespace {

using model::str;
using nlohmann::json;

constexpr size_t kMaxVerified = 4096;
constexpr size_t kMaxToken = 16 << 10;
constexpr int64_t kLeeway = 60;  // what is being deleted is good a little longer
constexpr std::string_view kLegacyIssuer = "kubernetes/serviceaccount";

std::string text(const json& from, const char* name) {
  const auto found = from.find(name);
  return found != from.end() && found->is_string() ? found->get<std::string>() : std::string();
}

const json& part(const json& from, const char* name) {
  static const json kEmpty = json::object();
  const auto found = from.find(name);
  return found != from.end() && found->is_object() ? *found : kEmpty;
}

int64_t number(const json& from, const char* name) {
  const auto found = from.find(name);
  if (found == from.end()) return 0;
  if (found->is_number_integer()) return found->get<int64_t>();
  if (!found->is_number_float()) return 0;
  const double value = found->get<double>();
  return value > 0 && value < 1e15 ? static_cast<int64_t>(value) : 0;
}

std::vector<std::string> audiences_of(const json& claims) {
  std::vector<std::string> out;
  const auto found = claims.find("aud");
  if (found == claims.end()) return out;
  if (found->is_string()) out.push_back(found->get<std::string>());
  if (found->is_array()) {
    for (const auto& one : *found) {
      if (one.is_string()) out.push_back(one.get<std::string>());
    }
  }
  return out;
}

BoundObject bound(const json& from, const char* name) {
  return {text(part(from, name), "name"), text(part(from, name), "uid")};
}

bool is_gone(const model::Object& object, int64_t now) {
  const auto deleted = object.meta()->deletion_timestamp();
  return deleted && *deleted + kLeeway < now;
}

json bound_json(const BoundObject& object) { return {{"name", object.name}, {"uid", object.uid}}; }

// Reads what the signed claims say; "" or why they are none of a ServiceAccount's.
std::string read_claims(const json& claims, TokenClaims& out) {
  out.audiences = audiences_of(claims);
  out.issued = number(claims, "iat");
  out.not_before = number(claims, "nbf");
  out.expires = number(claims, "exp");
  out.id = text(claims, "jti");
  if (text(claims, "iss") == kLegacyIssuer) {
    out.legacy = true;
    out.ns = text(claims, "kubernetes.io/serviceaccount/namespace");
    out.name = text(claims, "kubernetes.io/serviceaccount/service-account.name");
    out.uid = text(claims, "kubernetes.io/serviceaccount/service-account.uid");
    out.secret.name = text(claims, "kubernetes.io/serviceaccount/secret.name");
    if (out.secret.name.empty()) return "secretName claim is missing";
  } else {
    const json& ours = part(claims, "kubernetes.io");
    out.ns = text(ours, "namespace");
    out.name = text(part(ours, "serviceaccount"), "name");
    out.uid = text(part(ours, "serviceaccount"), "uid");
    out.pod = bound(ours, "pod");
    out.secret = bound(ours, "secret");
    out.node = bound(ours, "node");
    out.warn_after = number(ours, "warnafter");
    if (out.expires == 0) return "token has no expiry";
  }
  if (out.ns.empty() || out.name.empty() || out.uid.empty()) return "service account claims are missing";
  if (text(claims, "sub") != fmt::format("system:serviceaccount:{}:{}", out.ns, out.name))
    return "sub claim is not the service account's";
  return {};
}

}  // namespace

ServiceAccountTokens::ServiceAccountTokens(TokenConfig config, const Objects& objects)
    : config_(std::move(config)), objects_(objects) {
  if (config_.audiences.empty()) config_.audiences = {config_.issuer};
  for (const auto& key : config_.keys) {
    if (key.can_sign() && signer_ == nullptr) signer_ = &key;
  }
}

std::string ServiceAccountTokens::issue(const TokenClaims& claims) const {
  if (claims.legacy) {
    return signer_->sign({{"iss", kLegacyIssuer},
                          {"kubernetes.io/serviceaccount/namespace", claims.ns},
                          {"kubernetes.io/serviceaccount/secret.name", claims.secret.name},
                          {"kubernetes.io/serviceaccount/service-account.name", claims.name},
                          {"kubernetes.io/serviceaccount/service-account.uid", claims.uid},
                          {"sub", fmt::format("system:serviceaccount:{}:{}", claims.ns, claims.name)}});
  }
  json ours{{"namespace", claims.ns}, {"serviceaccount", {{"name", claims.name}, {"uid", claims.uid}}}};
  if (!claims.pod.name.empty()) ours["pod"] = bound_json(claims.pod);
  if (!claims.secret.name.empty()) ours["secret"] = bound_json(claims.secret);
  if (!claims.node.name.empty()) ours["node"] = bound_json(claims.node);
  if (claims.warn_after != 0) ours["warnafter"] = claims.warn_after;
  return signer_->sign({{"iss", config_.issuer},
                        {"sub", fmt::format("system:serviceaccount:{}:{}", claims.ns, claims.name)},
                        {"aud", claims.audiences},
                        {"iat", claims.issued},
                        {"nbf", claims.not_before},
                        {"exp", claims.expires},
                        {"jti", claims.id},
                        {"kubernetes.io", ours}});
}

bool ServiceAccountTokens::looks_like(std::string_view token) {
  return std::count(token.begin(), token.end(), '.') == 2;
}

std::shared_ptr<const TokenClaims> ServiceAccountTokens::verified(const std::string& token, std::string& error) {
  if (const auto known = verified_.find(token); known != verified_.end()) return known->second;
  if (token.size() > kMaxToken) return error = "token is too long", nullptr;
  const auto jwt = Jwt::parse(token);
  if (!jwt) return error = "token is malformed", nullptr;
  const std::string issuer = text(jwt->claims, "iss");
  if (issuer != config_.issuer && issuer != kLegacyIssuer) return error = "token has an unknown issuer", nullptr;
  const bool signed_by_us = std::any_of(config_.keys.begin(), config_.keys.end(), [&](const TokenKey& key) {
    return jwt->algorithm == key.algorithm() && (jwt->key_id.empty() || jwt->key_id == key.id()) &&
           key.verify(jwt->signing_input, jwt->signature);
  });
  if (!signed_by_us) return error = "token has an invalid signature", nullptr;
  auto claims = std::make_shared<TokenClaims>();
  error = read_claims(jwt->claims, *claims);
  if (!error.empty()) return nullptr;
  if (verified_.size() >= kMaxVerified) verified_.clear();
  return verified_[token] = std::move(claims);
}

bool ServiceAccountTokens::holds(const TokenClaims& claims, const std::string& token, int64_t now,
                                 Verdict& verdict) const {
  const auto exists = [&](const char* resource, std::string_view ns, const BoundObject& object) {
    const model::Object* found = objects_.find_object(resource, ns, object.name);
    if (found != nullptr && (object.uid.empty() || found->uid() == object.uid) && !is_gone(*found, now)) return true;
    verdict.error = fmt::format("{} \"{}\" that the token is bound to has been deleted", resource, object.name);
    verdict.unsure = resource;
    return false;
  };
  if (!exists("serviceaccounts", claims.ns, {claims.name, claims.uid})) return false;
  if (!claims.pod.name.empty() && !exists("pods", claims.ns, claims.pod)) return false;
  if (!claims.secret.name.empty() && !exists("secrets", claims.ns, claims.secret)) return false;
  // A pod's token names its node for information: the pod binds it.
  if (claims.pod.name.empty() && !claims.node.name.empty() && !exists("nodes", "", claims.node)) return false;
  if (!claims.legacy) return true;
  const model::Object* secret = objects_.find_object("secrets", claims.ns, claims.secret.name);
  const auto* data = secret->as<api::core_v1::Secret>()->data();
  if (data != nullptr) {
    for (const auto* entry : *data) {
      if (str(entry->key()) != "token" || entry->value() == nullptr) continue;
      const auto* bytes = entry->value();
      if (std::string_view(reinterpret_cast<const char*>(bytes->data()), bytes->size()) == token) return true;
    }
  }
  verdict.error = "token does not match the one of its Secret";
  verdict.unsure = "secrets";
  return false;
}

ServiceAccountTokens::Verdict ServiceAccountTokens::check(const std::string& token,
                                                          const std::vector<std::string>& audiences, int64_t now) {
  Verdict verdict;
  const auto claims = verified(token, verdict.error);
  if (claims == nullptr) return verdict;
  const auto refuse = [&](std::string why) {
    verdict.error = std::move(why);
    return verdict;
  };
  if (claims->expires != 0 && now >= claims->expires) return refuse("token has expired");
  if (claims->not_before > now + kLeeway) return refuse("token is not valid yet");
  const auto& wanted = audiences.empty() ? config_.audiences : audiences;
  const auto& has = claims->legacy ? config_.audiences : claims->audiences;
  for (const auto& audience : wanted) {
    if (std::find(has.begin(), has.end(), audience) != has.end()) verdict.audiences.push_back(audience);
  }
  if (verdict.audiences.empty()) return refuse("token audiences are invalid for the target audiences");
  if (!holds(*claims, token, now, verdict)) return verdict;
  verdict.identity = identity_of_service_account(claims->ns, claims->name, claims->uid);
  auto& extra = verdict.identity.extra;
  if (!claims->id.empty()) extra["authentication.kubernetes.io/credential-id"] = {"JTI=" + claims->id};
  if (!claims->pod.name.empty()) {
    extra["authentication.kubernetes.io/pod-name"] = {claims->pod.name};
    extra["authentication.kubernetes.io/pod-uid"] = {claims->pod.uid};
  }
  if (!claims->node.name.empty()) {
    extra["authentication.kubernetes.io/node-name"] = {claims->node.name};
    extra["authentication.kubernetes.io/node-uid"] = {claims->node.uid};
  }
  return verdict;
}

std::string ServiceAccountTokens::discovery_document() const {
  std::vector<std::string> algorithms;
  for (const auto& key : config_.keys) {
    if (std::find(algorithms.begin(), algorithms.end(), key.algorithm()) == algorithms.end())
      algorithms.emplace_back(key.algorithm());
  }
  return json{{"issuer", config_.issuer},
              {"jwks_uri", config_.issuer + "/openid/v1/jwks"},
              {"response_types_supported", {"id_token"}},
              {"subject_types_supported", {"public"}},
              {"id_token_signing_alg_values_supported", algorithms}}
      .dump();
}

std::string ServiceAccountTokens::key_set() const {
  json keys = json::array();
  for (const auto& key : config_.keys) keys.push_back(key.jwk());
  return json{{"keys", keys}}.dump();
}

}  // namespace gantry::apigw
