#include <gtest/gtest.h>
#include <openssl/rsa.h>

#include <map>

#include "libs/model/json.h"
#include "libs/pki/pki.h"
#include "services/apigw/authn/authenticator.h"
#include "services/apigw/authn/jwt.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

constexpr int64_t kNow = 1'700'000'000;

class FakeObjects final : public Objects {
 public:
  void put(const std::string& resource, const json& tree) {
    const auto& kind = *model::Schema::get().by_resource(resource);
    auto bytes = model::from_tree(kind, tree);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    model::Object object(kind, *bytes, 1);
    objects_[resource + "/" + std::string(object.ns()) + "/" + std::string(object.name())] = object;
  }
  void remove(const std::string& key) { objects_.erase(key); }
  const model::Object* find_object(std::string_view resource, std::string_view ns,
                                   std::string_view name) const override {
    const auto it = objects_.find(std::string(resource) + "/" + std::string(ns) + "/" + std::string(name));
    return it == objects_.end() ? nullptr : &it->second;
  }
  void visit_objects(std::string_view, std::string_view,
                     const std::function<void(const model::Object&)>&) const override {}
  void at_head_of(std::string_view resource, std::function<void(Status)> done) override {
    asked.emplace_back(resource);
    done(Done{});
  }
  std::vector<std::string> asked;

 private:
  std::map<std::string, model::Object> objects_;
};

class AuthnTest : public ::testing::Test {
 protected:
  AuthnTest() {
    objects_.put("serviceaccounts", {{"metadata", {{"name", "bot"}, {"namespace", "ci"}, {"uid", "u1"}}}});
    objects_.put("pods", {{"metadata", {{"name", "p"}, {"namespace", "ci"}, {"uid", "p1"}}}});
  }
  static TokenConfig config(TokenKey key) {
    TokenConfig out;
    out.keys.push_back(std::move(key));
    return out;
  }
  TokenClaims claims() const {
    TokenClaims c;
    c.ns = "ci";
    c.name = "bot";
    c.uid = "u1";
    c.audiences = {issuer_};
    c.issued = c.not_before = kNow;
    c.expires = kNow + 3600;
    c.id = "j1";
    return c;
  }
  Result<Identity> identify(const Credentials& credentials, int64_t now = kNow) {
    std::optional<Result<Identity>> out;
    authenticator_.identify(credentials, now, [&](Result<Identity> r) { out.emplace(std::move(r)); });
    return std::move(*out);
  }
  Code code(const std::string& token, int64_t now = kNow) { return identify({.token = token}, now).code(); }

  const std::string issuer_ = TokenConfig().issuer;
  FakeObjects objects_;
  Authenticator authenticator_{config(TokenKey::generate()), objects_, true};
  const ServiceAccountTokens& tokens_ = authenticator_.tokens();
};

TEST_F(AuthnTest, AnAccountsTokenNamesItWhileItIsThere) {
  auto c = claims();
  c.pod = {"p", "p1"};
  const std::string token = tokens_.issue(c);
  const auto who = identify({.token = token});
  ASSERT_TRUE(who.ok());
  EXPECT_EQ(who->user, "system:serviceaccount:ci:bot");
  EXPECT_EQ(who->uid, "u1");
  EXPECT_EQ(who->groups,
            (std::vector<std::string>{"system:serviceaccounts", "system:serviceaccounts:ci", "system:authenticated"}));
  EXPECT_EQ(who->extra.at("authentication.kubernetes.io/pod-name"), std::vector<std::string>{"p"});
  EXPECT_EQ(code(token, kNow + 3599), Code::kOk);
  EXPECT_EQ(code(token, kNow + 3600), Code::kUnauthorized);
  objects_.remove("pods/ci/p");
  EXPECT_EQ(code(token), Code::kUnauthorized);
  EXPECT_EQ(objects_.asked.back(), "pods");  // the view may have been behind
  objects_.put("pods", {{"metadata", {{"name", "p"}, {"namespace", "ci"}, {"uid", "p2"}}}});
  EXPECT_EQ(code(token), Code::kUnauthorized);  // another pod of that name
  objects_.put("pods", {{"metadata", {{"name", "p"}, {"namespace", "ci"}, {"uid", "p1"}}}});
  EXPECT_EQ(code(token), Code::kOk);
  objects_.put("serviceaccounts", {{"metadata", {{"name", "bot"}, {"namespace", "ci"}, {"uid", "u2"}}}});
  EXPECT_EQ(code(token), Code::kUnauthorized);
}

TEST_F(AuthnTest, BadTokensAreUnauthorizedWhateverTheyAre) {
  const std::string good = tokens_.issue(claims());
  ASSERT_EQ(code(good), Code::kOk);
  const size_t dot = good.rfind('.');
  const auto with_claims = [&](const json& header, const json& body) {
    return encode_base64url(header.dump()) + "." + encode_base64url(body.dump()) + "." + good.substr(dot + 1);
  };
  const json body = Jwt::parse(good)->claims;
  json admin = body;
  admin["sub"] = "system:serviceaccount:kube-system:root";
  auto other_audience = claims();
  other_audience.audiences = {"vault"};
  auto later = claims();
  later.not_before = kNow + 3600;
  FakeObjects none;
  Authenticator stranger(config(TokenKey::generate()), none, true);
  const std::vector<std::string> bad{
      "x",
      ".",
      "..",
      "a.b.c",
      "....",
      good + ".x",
      good + "A",
      good.substr(0, dot + 1),
      good.substr(0, dot),
      good.substr(0, dot) + "." + std::string(86, 'A'),
      with_claims({{"alg", "none"}}, body),
      with_claims({{"alg", "HS256"}}, body),
      with_claims({{"alg", "ES256"}, {"crit", {"x"}}}, body),
      with_claims({{"alg", "ES256"}}, admin),
      with_claims({{"alg", "ES256"}}, json::array()),
      with_claims(json::array(), body),
      with_claims({{"alg", 7}}, {{"iss", 7}}),
      encode_base64url("{\"alg\":\"ES256\"}") + "." + encode_base64url(std::string(5000, '[')) + ".AAAA",
      encode_base64url("\xff\xfe") + "." + encode_base64url(std::string("\0\0", 2)) + ".AAAA",
      tokens_.issue(other_audience),
      tokens_.issue(later),
      stranger.tokens().issue(claims()),
      std::string(20'000, 'a'),
      std::string(20'000, '.'),
      "abcdef.0123456789abcdef",
      "ABCDEF.0123456789abcdef",
      "abcdef.0123456789abcde"};
  for (const auto& token : bad) {
    const auto who = identify({.token = token});
    ASSERT_FALSE(who.ok()) << token;
    EXPECT_EQ(who.code(), Code::kUnauthorized) << token;
    EXPECT_EQ(who.error().message, "Unauthorized");
  }
}

TEST_F(AuthnTest, Rs256KeysAndPublicHalves) {
  const pki::Key rsa(EVP_RSA_gen(2048));
  const std::string private_pem = pki::to_pem(rsa.get()), public_pem = pki::to_public_pem(rsa.get());
  auto signer = TokenKey::from_pem(private_pem);
  auto verifier = TokenKey::from_pem(public_pem);
  ASSERT_TRUE(signer.ok() && verifier.ok());
  EXPECT_STREQ(signer->algorithm(), "RS256");
  EXPECT_FALSE(verifier->can_sign());
  EXPECT_EQ(signer->id(), verifier->id());
  const Authenticator issuing(config(*signer), objects_, true);
  Authenticator checking(config(*verifier), objects_, true);
  std::optional<Result<Identity>> who;
  checking.identify({.token = issuing.tokens().issue(claims())}, kNow,
                    [&](Result<Identity> r) { who.emplace(std::move(r)); });
  EXPECT_TRUE(who->ok());
  const json set = json::parse(checking.tokens().key_set());
  EXPECT_EQ(set["keys"][0]["kty"], "RSA");
  EXPECT_EQ(set["keys"][0]["e"], "AQAB");
  EXPECT_FALSE(TokenKey::from_pem("nothing").ok());
}

TEST_F(AuthnTest, BootstrapTokens) {
  const auto secret = [](const std::string& expiration, const std::string& use = "true") {
    return json{{"metadata", {{"name", "bootstrap-token-abcdef"}, {"namespace", "kube-system"}, {"uid", "s"}}},
                {"type", "bootstrap.kubernetes.io/token"},
                {"data",
                 {{"token-id", "YWJjZGVm"},
                  {"token-secret", "MDEyMzQ1Njc4OWFiY2RlZg=="},
                  {"expiration", expiration},
                  {"usage-bootstrap-authentication", use == "true" ? "dHJ1ZQ==" : "ZmFsc2U="},
                  {"auth-extra-groups", "c3lzdGVtOmJvb3RzdHJhcHBlcnM6bm9kZXM="}}}};
  };
  const std::string token = "abcdef.0123456789abcdef";
  EXPECT_EQ(code(token), Code::kUnauthorized);
  objects_.put("secrets", secret("MjA5OS0wMS0wMVQwMDowMDowMFo="));
  const auto who = identify({.token = token});
  ASSERT_TRUE(who.ok());
  EXPECT_EQ(who->user, "system:bootstrap:abcdef");
  EXPECT_EQ(who->groups,
            (std::vector<std::string>{"system:bootstrappers", "system:bootstrappers:nodes", "system:authenticated"}));
  EXPECT_EQ(code("abcdef.0123456789abcdee"), Code::kUnauthorized);
  objects_.put("secrets", secret("MjAwMC0wMS0wMVQwMDowMDowMFo="));
  EXPECT_EQ(code(token), Code::kUnauthorized);
  objects_.put("secrets", secret("MjA5OS0wMS0wMVQwMDowMDowMFo=", "false"));
  EXPECT_EQ(code(token), Code::kUnauthorized);
}

TEST_F(AuthnTest, ImpersonationIsAskedForPieceByPiece) {
  std::vector<std::string> asked;
  const auto allow = [&](const Attributes& a) -> Status {
    asked.push_back(a.resource + "|" + a.subresource + "|" + a.ns + "|" + a.name);
    return Done{};
  };
  Impersonation wanted;
  wanted.user = "system:serviceaccount:ci:bot";
  wanted.extra["scopes"] = {"x"};
  auto who = Authenticator::impersonate(wanted, allow);
  ASSERT_TRUE(who.ok());
  EXPECT_EQ(asked, (std::vector<std::string>{"serviceaccounts||ci|bot", "userextras|scopes||x"}));
  EXPECT_TRUE(who->in_group("system:serviceaccounts:ci"));
  wanted = {};
  wanted.user = "bob";
  wanted.groups = {"dev"};
  who = Authenticator::impersonate(wanted, allow);
  EXPECT_EQ(who->groups, (std::vector<std::string>{"dev", "system:authenticated"}));
  wanted.user.clear();
  EXPECT_EQ(Authenticator::impersonate(wanted, allow).code(), Code::kBadRequest);
  wanted.user = "system:anonymous";
  wanted.groups.clear();
  EXPECT_FALSE(Authenticator::impersonate(wanted, allow)->in_group("system:authenticated"));
}

TEST_F(AuthnTest, WithoutCredentials) {
  EXPECT_EQ(identify({})->user, "system:anonymous");
  Authenticator strict(config(TokenKey::generate()), objects_, false);
  std::optional<Result<Identity>> who;
  strict.identify({}, kNow, [&](Result<Identity> r) { who.emplace(std::move(r)); });
  EXPECT_EQ(who->code(), Code::kUnauthorized);
}

}  // namespace
}  // namespace gantry::apigw
