#include "services/apigw/authn/authenticator.h"

#include <openssl/crypto.h>

#include "libs/model/json.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::apigw {
namespace {

using Verdict = ServiceAccountTokens::Verdict;
using model::str;

Error unauthorized() { return {Code::kUnauthorized, "Unauthorized"}; }

bool token_part(std::string_view text, size_t size) {
  return text.size() == size &&
         std::all_of(text.begin(), text.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); });
}

bool looks_like_bootstrap(std::string_view token) {
  return token.size() == 23 && token[6] == '.' && token_part(token.substr(0, 6), 6) && token_part(token.substr(7), 16);
}

std::string entry(const api::core_v1::Secret& secret, std::string_view key) {
  if (secret.data() == nullptr) return {};
  for (const auto* one : *secret.data()) {
    if (str(one->key()) != key || one->value() == nullptr) continue;
    return {reinterpret_cast<const char*>(one->value()->data()), one->value()->size()};
  }
  return {};
}

Attributes impersonation(std::string resource, std::string name, std::string group = "", std::string ns = "",
                         std::string subresource = "") {
  Attributes a;
  a.verb = "impersonate";
  a.resource = std::move(resource);
  a.subresource = std::move(subresource);
  a.ns = std::move(ns);
  a.name = std::move(name);
  a.group = std::move(group);
  return a;
}

}  // namespace

Verdict Authenticator::check_bootstrap(const std::string& token, int64_t now) const {
  Verdict verdict;
  verdict.error = "bootstrap token is invalid or has expired";
  verdict.unsure = "secrets";
  const std::string id = token.substr(0, 6);
  const model::Object* object = objects_.find_object("secrets", "kube-system", "bootstrap-token-" + id);
  if (object == nullptr || object->meta()->deletion_timestamp()) return verdict;
  const auto& secret = *object->as<api::core_v1::Secret>();
  const std::string wanted = entry(secret, "token-secret");
  if (str(secret.type()) != "bootstrap.kubernetes.io/token" || entry(secret, "token-id") != id) return verdict;
  if (wanted.size() != 16 || CRYPTO_memcmp(wanted.data(), token.data() + 7, 16) != 0) return verdict;
  if (entry(secret, "usage-bootstrap-authentication") != "true") return verdict;
  if (const std::string expiration = entry(secret, "expiration"); !expiration.empty()) {
    const auto until = model::parse_time(expiration);
    if (!until.ok() || *until / 1'000'000 <= now) return verdict;
  }
  std::vector<std::string> groups{"system:bootstrappers"};
  const std::string more = entry(secret, "auth-extra-groups");
  for (size_t at = 0; at < more.size();) {
    const size_t end = std::min(more.find(',', at), more.size());
    const std::string group = more.substr(at, end - at);
    if (!group.starts_with("system:bootstrappers:")) return verdict;
    groups.push_back(group);
    at = end + 1;
  }
  verdict = {};
  verdict.identity = identity_of_user("system:bootstrap:" + id, std::move(groups));
  return verdict;
}

Verdict Authenticator::check(const std::string& token, const std::vector<std::string>& audiences, int64_t now) {
  if (!looks_like_bootstrap(token)) return tokens_.check(token, audiences, now);
  Verdict verdict = check_bootstrap(token, now);
  for (const auto& own : tokens_.config().audiences) {
    if (audiences.empty() || std::find(audiences.begin(), audiences.end(), own) != audiences.end())
      verdict.audiences.push_back(own);
  }
  if (verdict.audiences.empty()) verdict.error = "token audiences are invalid for the target audiences";
  return verdict;
}

void Authenticator::review(const std::string& token, const std::vector<std::string>& audiences, int64_t now,
                           std::function<void(Result<Reviewed>)> done) {
  auto verdict = check(token, audiences, now);
  const auto answer = [](Verdict& v) -> Result<Reviewed> {
    if (!v.error.empty()) return Error{Code::kUnauthorized, std::move(v.error)};
    return Reviewed{std::move(v.identity), std::move(v.audiences)};
  };
  if (verdict.unsure.empty()) return done(answer(verdict));
  objects_.at_head_of(verdict.unsure, [this, token, audiences, now, answer, done = std::move(done)](Status status) {
    if (!status.ok()) return done(status.error());
    auto again = check(token, audiences, now);
    done(answer(again));
  });
}

void Authenticator::identify(const Credentials& credentials, int64_t now, Done done) {
  if (credentials.certificate) return done(*credentials.certificate);
  if (credentials.token.empty()) return anonymous_ ? done(anonymous()) : done(unauthorized());
  review(credentials.token, {}, now, [done = std::move(done)](Result<Reviewed> reviewed) {
    if (reviewed.ok()) return done(std::move(reviewed->identity));
    if (reviewed.code() == Code::kUnauthorized) return done(unauthorized());
    done(std::move(reviewed.error()));
  });
}

Result<Identity> Authenticator::impersonate(const Impersonation& wanted,
                                            const std::function<Status(const Attributes&)>& allow) {
  if (wanted.user.empty())
    return Error{Code::kBadRequest, "requested to impersonate groups, a uid or extras without impersonating a user"};
  std::vector<Attributes> asked;
  const auto account = service_account_of(wanted.user);
  asked.push_back(account ? impersonation("serviceaccounts", account->second, "", account->first)
                          : impersonation("users", wanted.user));
  for (const auto& group : wanted.groups) asked.push_back(impersonation("groups", group));
  if (!wanted.uid.empty()) asked.push_back(impersonation("uids", wanted.uid, "authentication.k8s.io"));
  for (const auto& [key, values] : wanted.extra) {
    for (const auto& value : values)
      asked.push_back(impersonation("userextras", value, "authentication.k8s.io", "", key));
  }
  for (const auto& attributes : asked) {
    if (auto allowed = allow(attributes); !allowed.ok()) return allowed.error();
  }
  std::vector<std::string> groups = wanted.groups;
  if (groups.empty() && account) groups = {"system:serviceaccounts", "system:serviceaccounts:" + account->first};
  Identity identity;
  if (wanted.user == anonymous().user) {
    identity = anonymous();
    for (auto& group : groups) {
      if (!identity.in_group(group)) identity.groups.push_back(std::move(group));
    }
  } else {
    identity = identity_of_user(wanted.user, std::move(groups));
  }
  identity.uid = wanted.uid;
  identity.extra = wanted.extra;
  return identity;
}

}  // namespace gantry::apigw
