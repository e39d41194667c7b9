// Whatever a request carries to say who asks: 401 or 403 with a Status, never an error of ours.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/testing/fake_bus.h"
#include "libs/http/testing/fake_responder.h"
#include "libs/state/testing/memory_store.h"
#include "services/apigw/rest/rest.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;
using std::chrono::seconds;

class RestAccessTest : public ::testing::Test {
 protected:
  testing::ManualLoop loop_;
  state::testing::MemoryStore store_{loop_};
  testing::FakeNetwork network_{loop_};
  std::unique_ptr<testing::FakeBus> bus_ = network_.connect("apigw");
  std::unique_ptr<Api> api_ = make_api(loop_, store_, {});
  Rest rest_{loop_, *api_, *bus_, {"172.30.0.1:6443"}};

  void SetUp() override {
    ASSERT_TRUE(loop_.run_until([&] { return api_->ready(); }, seconds(30)));
  }
  std::shared_ptr<http::testing::FakeResponder> call(const std::string& method, const std::string& target,
                                                     http::Headers headers, std::string body = "",
                                                     std::optional<http::PeerCertificate> peer = std::nullopt) {
    http::Request request;
    request.method = method;
    request.target = request.raw_path = request.path = target;
    if (!body.empty()) headers.add("Content-Type", "application/json");
    request.headers = std::move(headers);
    request.body = std::move(body);
    if (peer) request.peer = std::make_shared<http::PeerCertificate>(std::move(*peer));
    auto responder = std::make_shared<http::testing::FakeResponder>();
    rest_.handle(std::move(request), responder);
    loop_.run_until([&] { return responder->status != 0; }, seconds(30));
    return responder;
  }
  void expect_status(const http::testing::FakeResponder& r, int code, const std::string& what) {
    EXPECT_EQ(r.status, code) << what << ": " << r.body;
    const auto body = json::parse(r.body, nullptr, false);
    ASSERT_TRUE(body.is_object()) << what;
    EXPECT_EQ(body.value("kind", ""), "Status") << what;
    EXPECT_EQ(body.value("code", 0), code) << what;
  }
  static http::PeerCertificate admin() { return {"kubernetes-admin", {"system:masters"}, "", 0}; }
};

constexpr const char* kPods = "/api/v1/namespaces/default/pods";

TEST_F(RestAccessTest, BadTokens) {
  const std::string part(3000, 'x');
  for (const std::string& value :
       {std::string("Bearer x"), std::string("bearer a.b.c"), "BEARER " + part,
        "Bearer " + part + "." + part + "." + part, std::string("Bearer \xff\xfe.\x01.\x02"),
        std::string("Bearer eyJhbGciOiJub25lIn0.e30."), std::string("Bearer eyJhbGciOiJub25lIn0.e30.AA"),
        std::string("Bearer abcdef.0123456789abcdef"), std::string("Bearer x y z"), std::string("Bearer {\"a\":1}")}) {
    expect_status(*call("GET", kPods, {{"Authorization", value}}), 401, value);
  }
}

TEST_F(RestAccessTest, NoCredentialsAreAnonymous) {
  for (const char* value : {"", "Basic YTpi", "Bearer", "Bearer ", "Digest x", " ", "Bearer\tx"}) {
    const auto r = call("GET", kPods, {{"Authorization", value}});
    expect_status(*r, 403, value);
    EXPECT_EQ(json::parse(r->body)["message"],
              "pods is forbidden: User \"system:anonymous\" cannot list resource \"pods\" in API group \"\" in the "
              "namespace \"default\"");
  }
  EXPECT_EQ(call("GET", "/version", {})->status, 200);
  expect_status(*call("GET", "/api", {}), 403, "/api");
}

TEST_F(RestAccessTest, Certificates) {
  expect_status(*call("GET", kPods, {}, "", http::PeerCertificate{"", {"system:masters"}, "", 0}), 403, "no name");
  expect_status(*call("GET", kPods, {}, "", http::PeerCertificate{"eve", {}, "", 0}), 403, "eve");
  expect_status(*call("GET", kPods, {}, "", http::PeerCertificate{std::string("\xff\"\n\0x", 5), {"\xfe"}, "", 0}), 403,
                "not UTF-8");
  EXPECT_EQ(call("GET", kPods, {}, "", admin())->status, 200);
  EXPECT_EQ(call("GET", kPods, {{"Authorization", "Bearer nonsense"}}, "", admin())->status, 200);
}

TEST_F(RestAccessTest, Impersonation) {
  const auto as = [&](http::Headers headers) { return call("GET", kPods, std::move(headers), "", admin()); };
  expect_status(*as({{"Impersonate-User", "bob"}}), 403, "bob");
  expect_status(*as({{"Impersonate-Group", "x"}}), 400, "group alone");
  expect_status(*as({{"Impersonate-Uid", "x"}}), 400, "uid alone");
  expect_status(*as({{"Impersonate-Extra-a%zz", "x"}}), 400, "extra alone");
  EXPECT_EQ(as({{"Impersonate-User", "bob"}, {"Impersonate-Group", "system:masters"}})->status, 200);
  EXPECT_EQ(as({{"impersonate-user", "bob"}, {"Impersonate-Extra-a%zz", "x"}, {"Impersonate-Uid", "1"}})->status, 403);
  expect_status(*call("GET", kPods, {{"Impersonate-User", "bob"}}), 403, "anonymous");
  expect_status(*as({{"Impersonate-User", std::string(8000, 'x')}}), 403, "long");
  expect_status(*as({{"Impersonate-User", "system:serviceaccount:::"}}), 403, "no account");
}

TEST_F(RestAccessTest, TokensOfAccountsAndTheirDocuments) {
  const auto made =
      call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {}, R"({"spec":{}})", admin());
  ASSERT_EQ(made->status, 201) << made->body;
  const std::string token = json::parse(made->body)["status"]["token"];
  const auto who =
      call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", {{"Authorization", "Bearer " + token}}, "{}");
  ASSERT_EQ(who->status, 201) << who->body;
  EXPECT_EQ(json::parse(who->body)["status"]["userInfo"]["username"], "system:serviceaccount:default:default");
  const auto keys = call("GET", "/openid/v1/jwks", {{"Authorization", "Bearer " + token}});
  ASSERT_EQ(keys->status, 200);
  EXPECT_EQ(json::parse(keys->body)["keys"][0]["crv"], "P-256");
  const auto document = call("GET", "/.well-known/openid-configuration", {{"Authorization", "Bearer " + token}});
  EXPECT_EQ(json::parse(document->body)["issuer"], "https://kubernetes.default.svc.cluster.local");
  expect_status(*call("GET", "/openid/v1/jwks", {}), 403, "anonymous");
  expect_status(*call("GET", kPods, {{"Authorization", "Bearer " + token.substr(0, token.size() - 2) + "xx"}}), 401,
                "a changed signature");
  expect_status(*call("GET", kPods, {{"Sec-WebSocket-Protocol", "base64url.bearer.authorization.k8s.io.!!!"}}), 400,
                "a socket's token");
}

TEST_F(RestAccessTest, BadTokenRequestsAndReviews) {
  const char* kToken = "/api/v1/namespaces/default/serviceaccounts/default/token";
  for (const char* body :
       {"{", "[]", "null", R"({"spec":7})", R"({"spec":{"expirationSeconds":"x"}})",
        R"({"spec":{"expirationSeconds":1}})", R"({"spec":{"expirationSeconds":9223372036854775807}})",
        R"({"spec":{"boundObjectRef":{"kind":"Pod"}}})",
        R"({"spec":{"boundObjectRef":{"kind":"Node","apiVersion":"v1","name":"x"}}})",
        R"({"kind":"Pod","apiVersion":"v1"})"}) {
    const auto r = call("POST", kToken, {}, body, admin());
    if (r->status == 201) continue;
    EXPECT_GE(r->status, 400) << body;
    EXPECT_LT(r->status, 500) << body << r->body;
  }
  for (const char* review : {"selfsubjectaccessreviews", "subjectaccessreviews", "selfsubjectrulesreviews"}) {
    for (const char* body : {"{", "[]", "{}", R"({"spec":{}})", R"({"spec":{"user":1}})",
                             R"({"spec":{"resourceAttributes":{},"nonResourceAttributes":{}}})"}) {
      const auto r = call("POST", std::string("/apis/authorization.k8s.io/v1/") + review, {}, body, admin());
      EXPECT_GE(r->status, 400) << review << body << r->body;
      EXPECT_LT(r->status, 500) << review << body;
    }
    const auto got = call("GET", std::string("/apis/authorization.k8s.io/v1/") + review, {}, "", admin());
    EXPECT_TRUE(got->status == 404 || got->status == 405) << got->status;
  }
}

}  // namespace
}  // namespace gantry::apigw
