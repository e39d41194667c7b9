// Questions about identity and access that the API answers without storing anything: token requests and the reviews of
// authentication.k8s.io and authorization.k8s.io. Loop's thread only.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "services/apigw/authn/authenticator.h"
#include "services/apigw/core/alive.h"
#include "services/apigw/core/plan.h"
#include "services/apigw/core/world.h"

namespace gantry::apigw {

class Access {
 public:
  Access(World& world, Authenticator& authenticator, const ApiConfig& config)
      : world_(world), authenticator_(authenticator), config_(config) {}

  /// Create of a review: tokenreviews, selfsubjectreviews, subjectaccessreviews, ... request->kind is the review's.
  void review(const RequestPtr& request);
  /// Create serviceaccounts/token.
  void request_token(const RequestPtr& request);

 private:
  Result<Answer> access_review(Request& request, const model::Object& body) const;
  Result<Answer> rules_review(Request& request, const model::Object& body) const;
  void token_review(const RequestPtr& request, const model::Object& body);
  Result<Answer> issue(Request& request) const;

  World& world_;
  Authenticator& authenticator_;
  const ApiConfig& config_;
  Alive alive_;
};

/// What access is decided from: an answer is as good as the view of these.
std::vector<std::string> access_resources();
/// The UserInfo of authentication.k8s.io as JSON.
nlohmann::json user_info(const Identity& identity);

}  // namespace gantry::apigw
