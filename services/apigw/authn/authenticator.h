// Who asks, from what a request carries: a client certificate, a bearer token (a ServiceAccount's or a bootstrap
// token), or nothing; and on whose behalf (impersonation). Loop's thread only.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "services/apigw/authn/service_account_tokens.h"
#include "services/apigw/authz/authz.h"

namespace gantry::apigw {

/// Impersonate-* headers.
struct Impersonation {
  std::string user, uid;
  std::vector<std::string> groups;
  std::map<std::string, std::vector<std::string>> extra;  // names in lower case, percent-decoded
  bool wanted() const { return !user.empty() || !uid.empty() || !groups.empty() || !extra.empty(); }
};

struct Credentials {
  std::optional<Identity> certificate;  // verified
  std::string token;                    // bearer
  Impersonation impersonation;
};

class Authenticator {
 public:
  Authenticator(TokenConfig config, Objects& objects, bool anonymous)
      : objects_(objects), tokens_(std::move(config), objects), anonymous_(anonymous) {}

  const ServiceAccountTokens& tokens() const { return tokens_; }

  using Done = std::function<void(Result<Identity>)>;
  /// kUnauthorized, with the API server's one word for it. Calls back at once unless the projection must be asked
  /// again.
  void identify(const Credentials& credentials, int64_t now, Done done);

  struct Reviewed {
    Identity identity;
    std::vector<std::string> audiences;
  };
  /// A token alone; kUnauthorized says why.
  void review(const std::string& token, const std::vector<std::string>& audiences, int64_t now,
              std::function<void(Result<Reviewed>)> done);

  /// Who the request is to be seen as; `allow` says whether the asking identity may. kForbidden, kBadRequest.
  static Result<Identity> impersonate(const Impersonation& wanted,
                                      const std::function<Status(const Attributes&)>& allow);

 private:
  ServiceAccountTokens::Verdict check(const std::string& token, const std::vector<std::string>& audiences, int64_t now);
  ServiceAccountTokens::Verdict check_bootstrap(const std::string& token, int64_t now) const;

  Objects& objects_;
  ServiceAccountTokens tokens_;
  const bool anonymous_;
};

}  // namespace gantry::apigw
