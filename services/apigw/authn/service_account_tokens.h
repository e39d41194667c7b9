// Tokens of ServiceAccounts: what they claim, and whether that still holds. Loop's thread only.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "services/apigw/authn/token_key.h"
#include "services/apigw/authz/identity.h"
#include "services/apigw/authz/objects.h"

namespace gantry::apigw {

struct TokenConfig {
  std::vector<TokenKey> keys;  // all are accepted; the first that can sign does
  std::string issuer = "https://kubernetes.default.svc.cluster.local";
  std::vector<std::string> audiences;  // that this API answers to; empty: the issuer
  int64_t max_seconds = 0;             // longest life of a token; 0: no limit
  /// Tokens of kube-api-access volumes outlive what was asked for: an agent that cannot renew them for a while does not
  /// cut its pods off.
  bool extend = true;
};

/// An object that a token is bound to: it is good while the object exists.
struct BoundObject {
  std::string name, uid;
};

struct TokenClaims {
  std::string ns, name, uid;  // of the ServiceAccount
  BoundObject pod, secret, node;
  std::vector<std::string> audiences;
  int64_t issued = 0, not_before = 0, expires = 0, warn_after = 0;  // unix seconds; expires 0: never
  std::string id;
  bool legacy = false;  // of a token Secret: no audience, no expiry
};

class ServiceAccountTokens {
 public:
  ServiceAccountTokens(TokenConfig config, const Objects& objects);

  bool can_issue() const { return signer_ != nullptr; }
  const TokenConfig& config() const { return config_; }
  /// Signs a token. Only if can_issue().
  std::string issue(const TokenClaims& claims) const;

  /// Whose issuer claims to be ours; anything else is not a ServiceAccount's token.
  static bool looks_like(std::string_view token);

  struct Verdict {
    Identity identity;                   // without error
    std::vector<std::string> audiences;  // those of the token that were asked for
    std::string error;                   // why not
    std::string unsure;                  // a resource: the projection may be behind, look again at its head
  };
  /// `audiences` empty: the API's own.
  Verdict check(const std::string& token, const std::vector<std::string>& audiences, int64_t now);

  /// /.well-known/openid-configuration and /openid/v1/jwks.
  std::string discovery_document() const;
  std::string key_set() const;

 private:
  std::shared_ptr<const TokenClaims> verified(const std::string& token, std::string& error);
  bool holds(const TokenClaims& claims, const std::string& token, int64_t now, Verdict& verdict) const;

  TokenConfig config_;
  const Objects& objects_;
  const TokenKey* signer_ = nullptr;
  std::unordered_map<std::string, std::shared_ptr<const TokenClaims>> verified_;  // signature and form were good
};

}  // namespace gantry::apigw
