#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "schemas/api/core_v1_generated.h"
#include "services/apigw/core/testing/test_gateway.h"

namespace gantry::apigw {
namespace {

using testing::TestGateway;
using Json = TestGateway::Json;

class AccessTest : public ::testing::Test {
 protected:
  TestGateway g_;
  Identity alice_ = identity_of_user("alice", {"dev"});

  void bind(const std::string& ns, const std::string& role, const std::string& user) {
    const Json body{{"metadata", {{"name", role + "-" + user}}},
                    {"roleRef", {{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "ClusterRole"}, {"name", role}}},
                    {"subjects", {{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "User"}, {"name", user}}}}};
    const auto made = g_.create(ns.empty() ? "clusterrolebindings" : "rolebindings", ns, body);
    ASSERT_TRUE(made.ok()) << made.error().message;
  }
  Json ask(const std::string& resource, const Json& body, const Identity& who, const std::string& ns = "") {
    const auto answer = g_.create(resource, ns, body, &who);
    EXPECT_TRUE(answer.ok()) << answer.error().message;
    return answer.ok() ? model::to_tree(answer->object)["status"] : Json();
  }
  Result<Answer> token(const std::string& account, const Json& spec, const Identity* as = nullptr) {
    return g_.call({.verb = bus::Verb::Create,
                    .resource = "serviceaccounts",
                    .subresource = "token",
                    .ns = "default",
                    .name = account,
                    .json = Json{{"spec", spec}}.dump()},
                   as);
  }
  Result<Identity> identify(const std::string& token) {
    std::optional<Result<Identity>> out;
    g_.api->authenticate({.token = token}, [&](Result<Identity> r) { out.emplace(std::move(r)); });
    g_.loop.run_until([&] { return out.has_value(); }, std::chrono::seconds(10));
    return std::move(*out);
  }
};

TEST_F(AccessTest, RolesDecideAtOnce) {
  EXPECT_EQ(g_.create("configmaps", "default", {{"metadata", {{"name", "c"}}}}, &alice_).code(), Code::kForbidden);
  bind("default", "edit", "alice");
  EXPECT_TRUE(g_.create("configmaps", "default", {{"metadata", {{"name", "c"}}}}, &alice_).ok());
  EXPECT_EQ(g_.create("configmaps", "kube-system", {{"metadata", {{"name", "c"}}}}, &alice_).error().message,
            "configmaps is forbidden: User \"alice\" cannot create resource \"configmaps\" in API group \"\" in the "
            "namespace \"kube-system\"");
  // An operator on the bus is a user of that name.
  const Identity operator_alice = identity_of_bus("alice");
  EXPECT_TRUE(g_.get("configmaps", "default", "c", "", &operator_alice).ok());
}

TEST_F(AccessTest, NobodyRaisesHimself) {
  bind("default", "admin", "alice");
  const Json binding{
      {"metadata", {{"name", "me"}}},
      {"roleRef", {{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "ClusterRole"}, {"name", "cluster-admin"}}},
      {"subjects", {{{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "User"}, {"name", "alice"}}}}};
  const auto refused = g_.create("rolebindings", "default", binding, &alice_);
  EXPECT_EQ(refused.code(), Code::kForbidden);
  EXPECT_TRUE(refused.error().message.find("is attempting to grant RBAC permissions not currently held") !=
              std::string::npos);
}

TEST_F(AccessTest, DefaultRolesComeBack) {
  ASSERT_TRUE(g_.stored("clusterroles", "", "cluster-admin").contains("rules"));
  ASSERT_TRUE(g_.patch("clusterroles", "", "system:basic-user", {{"rules", Json::array()}}).ok());
  auto second = g_.another();
  EXPECT_EQ(g_.stored("clusterroles", "", "system:basic-user")["rules"].size(), 3u);
}

TEST_F(AccessTest, Reviews) {
  bind("default", "view", "alice");
  const auto can = [&](const char* verb, const char* resource) {
    return ask("selfsubjectaccessreviews",
               {{"spec", {{"resourceAttributes", {{"namespace", "default"}, {"verb", verb}, {"resource", resource}}}}}},
               alice_);
  };
  EXPECT_EQ(can("list", "pods")["allowed"], true);
  EXPECT_EQ(can("list", "pods")["reason"],
            "RBAC: allowed by RoleBinding \"view-alice/default\" of ClusterRole \"view\" to User \"alice\"");
  EXPECT_EQ(can("delete", "pods")["allowed"], false);
  EXPECT_EQ(ask("selfsubjectreviews", Json::object(), alice_)["userInfo"],
            (Json{{"username", "alice"}, {"groups", {"dev", "system:authenticated"}}}));
  const Json rules = ask("selfsubjectrulesreviews", {{"spec", {{"namespace", "default"}}}}, alice_);
  EXPECT_EQ(rules["incomplete"], false);
  EXPECT_GT(rules["resourceRules"].size(), 5u);
  EXPECT_EQ(ask("subjectaccessreviews",
                {{"spec", {{"user", "bob"}, {"nonResourceAttributes", {{"verb", "get"}, {"path", "/version"}}}}}},
                g_.admin)["allowed"],
            false);
  EXPECT_EQ(g_.create("subjectaccessreviews", "", {{"spec", {{"user", "bob"}}}}).code(), Code::kInvalid);
  EXPECT_EQ(g_.create("subjectaccessreviews", "", Json::object(), &alice_).code(), Code::kForbidden);
  const Json local{
      {"spec",
       {{"user", "alice"}, {"resourceAttributes", {{"namespace", "default"}, {"verb", "get"}, {"resource", "pods"}}}}}};
  EXPECT_EQ(ask("localsubjectaccessreviews", local, g_.admin, "default")["allowed"], true);
  EXPECT_EQ(g_.create("localsubjectaccessreviews", "kube-system", local).code(), Code::kInvalid);
}

TEST_F(AccessTest, TokensForAccountsAndPods) {
  auto made = token("default", {{"audiences", Json::array()}});
  ASSERT_TRUE(made.ok()) << made.error().message;
  const Json request = model::to_tree(made->object);
  EXPECT_EQ(request["spec"]["expirationSeconds"], 3600);
  const auto who = identify(request["status"]["token"]);
  ASSERT_TRUE(who.ok());
  EXPECT_EQ(who->user, "system:serviceaccount:default:default");
  const Json reviewed = ask("tokenreviews", {{"spec", {{"token", request["status"]["token"]}}}}, g_.admin);
  EXPECT_EQ(reviewed["authenticated"], true);
  EXPECT_EQ(reviewed["user"]["username"], "system:serviceaccount:default:default");
  EXPECT_TRUE(ask("tokenreviews", {{"spec", {{"token", "x.y.z"}}}}, g_.admin).contains("error"));

  EXPECT_EQ(token("none", Json::object()).code(), Code::kNotFound);
  EXPECT_EQ(token("default", {{"expirationSeconds", 10}}).code(), Code::kInvalid);
  EXPECT_EQ(token("default", {{"boundObjectRef", {{"kind", "Pod"}, {"apiVersion", "v1"}, {"name", "p"}}}}).code(),
            Code::kNotFound);

  ASSERT_TRUE(g_.create("nodes", "", {{"metadata", {{"name", "n1"}}}}).ok());
  ASSERT_TRUE(g_.create("pods", "default", TestGateway::pod("p")).ok());
  ASSERT_TRUE(g_.bind("default", "p", "n1").ok());
  const std::string uid = g_.stored("pods", "default", "p")["metadata"]["uid"];
  const Json bound{{"boundObjectRef", {{"kind", "Pod"}, {"apiVersion", "v1"}, {"name", "p"}, {"uid", uid}}}};
  const Identity node = identity_of_bus("node-n1"), other = identity_of_bus("node-n2");
  made = token("default", bound, &node);
  ASSERT_TRUE(made.ok()) << made.error().message;
  const std::string pods_token = model::to_tree(made->object)["status"]["token"];
  EXPECT_TRUE(identify(pods_token).ok());
  EXPECT_EQ(token("default", bound, &other).code(), Code::kForbidden);
  EXPECT_EQ(token("default", Json::object(), &node).code(), Code::kForbidden);
  (void)g_.call(
      {.verb = bus::Verb::Delete, .resource = "pods", .ns = "default", .name = "p", .grace_period_seconds = 0});
  EXPECT_EQ(identify(pods_token).code(), Code::kUnauthorized);
}

TEST_F(AccessTest, WhatAWriteMakesMustBeAllowedToo) {
  ASSERT_TRUE(g_.create("clusterroles", "",
                        {{"metadata", {{"name", "changer"}}},
                         {"rules",
                          {{{"verbs", {"get", "update", "patch"}},
                            {"apiGroups", {"", "coordination.k8s.io"}},
                            {"resources", {"leases", "configmaps"}}}}}})
                  .ok());
  bind("default", "changer", "alice");
  const Json lease{{"metadata", {{"name", "l"}}}};
  const auto put = [&] {
    return g_.call(
        {.verb = bus::Verb::Update, .resource = "leases", .ns = "default", .name = "l", .json = lease.dump()}, &alice_);
  };
  EXPECT_EQ(put().error().message,
            "leases.coordination.k8s.io \"l\" is forbidden: User \"alice\" cannot create resource \"leases\" in API "
            "group \"coordination.k8s.io\" in the namespace \"default\"");
  const auto apply = [&] {
    return g_.call({.verb = bus::Verb::Patch,
                    .resource = "configmaps",
                    .ns = "default",
                    .name = "c",
                    .json = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"},"data":{"a":"b"}})",
                    .patch_type = bus::PatchType::Apply,
                    .field_manager = "m"},
                   &alice_);
  };
  EXPECT_EQ(apply().code(), Code::kForbidden);
  ASSERT_TRUE(g_.create("leases", "default", lease).ok());
  EXPECT_TRUE(put().ok());
  bind("default", "edit", "alice");
  EXPECT_TRUE(apply().ok());
}

TEST_F(AccessTest, ANodeReadsTheVolumesOfItsPods) {
  ASSERT_TRUE(g_.create("nodes", "", {{"metadata", {{"name", "n1"}}}}).ok());
  const Json size{{"storage", "1Gi"}};
  const auto claim = [&](const char* name) {
    return g_.create("persistentvolumeclaims", "default",
                     {{"metadata", {{"name", name}}},
                      {"spec", {{"accessModes", {"ReadWriteOnce"}}, {"resources", {{"requests", size}}}}}});
  };
  ASSERT_TRUE(claim("c").ok());
  ASSERT_TRUE(claim("other").ok());
  const auto volume = [&](const char* name, const char* of) {
    return g_.create("persistentvolumes", "",
                     {{"metadata", {{"name", name}}},
                      {"spec",
                       {{"accessModes", {"ReadWriteOnce"}},
                        {"capacity", size},
                        {"hostPath", {{"path", "/data"}}},
                        {"claimRef", {{"kind", "PersistentVolumeClaim"}, {"namespace", "default"}, {"name", of}}}}}});
  };
  const auto made = volume("v", "c");
  ASSERT_TRUE(made.ok()) << made.error().message;
  ASSERT_TRUE(volume("w", "other").ok());
  Json pod = TestGateway::pod("p");
  pod["spec"]["volumes"] = {{{"name", "data"}, {"persistentVolumeClaim", {{"claimName", "c"}}}}};
  ASSERT_TRUE(g_.create("pods", "default", pod).ok());
  ASSERT_TRUE(g_.bind("default", "p", "n1").ok());
  const Identity node = identity_of_bus("node-n1"), stranger = identity_of_bus("node-n2");
  EXPECT_TRUE(g_.get("persistentvolumeclaims", "default", "c", "", &node).ok());
  EXPECT_TRUE(g_.get("persistentvolumes", "", "v", "", &node).ok());
  EXPECT_EQ(g_.get("persistentvolumeclaims", "default", "other", "", &node).code(), Code::kForbidden);
  EXPECT_EQ(g_.get("persistentvolumes", "", "w", "", &node).code(), Code::kForbidden);
  EXPECT_EQ(g_.get("persistentvolumes", "", "v", "", &stranger).code(), Code::kForbidden);
  const Json csi{{"metadata", {{"name", "n1"}}}, {"spec", {{"drivers", Json::array()}}}};
  const Json slice{
      {"metadata", {{"name", "s"}}},
      {"spec", {{"driver", "a.b"}, {"nodeName", "n1"}, {"pool", {{"name", "p"}, {"resourceSliceCount", 1}}}}}};
  EXPECT_EQ(g_.create("resourceslices", "", slice, &node).code(), Code::kMethodNotAllowed);  // nobody allocates devices
  EXPECT_EQ(g_.get("resourceslices", "", "s", "", &stranger).code(), Code::kForbidden);
  EXPECT_EQ(g_.remove("resourceslices", "", "s", &stranger).code(), Code::kForbidden);
  EXPECT_EQ(g_.create("csinodes", "", csi, &stranger).code(), Code::kForbidden);
  const auto own = g_.create("csinodes", "", csi, &node);
  EXPECT_TRUE(own.ok()) << own.error().message;
}

TEST_F(AccessTest, TokenSecretsEndWithTheirAccount) {
  ASSERT_TRUE(g_.create("serviceaccounts", "default", {{"metadata", {{"name", "robot"}}}}).ok());
  const auto secret = [](const char* name, const char* type, const Json& annotations) {
    return Json{{"metadata", {{"name", name}, {"annotations", annotations}}}, {"type", type}};
  };
  const char* kToken = "kubernetes.io/service-account-token";
  const auto made =
      g_.create("secrets", "default", secret("robot-token", kToken, {{"kubernetes.io/service-account.name", "robot"}}));
  ASSERT_TRUE(made.ok()) << made.error().message;
  ASSERT_TRUE(
      g_.create("secrets", "default", secret("other", kToken, {{"kubernetes.io/service-account.name", "default"}}))
          .ok());
  ASSERT_TRUE(g_.create("secrets", "default", secret("plain", "Opaque", Json::object())).ok());
  const auto bootstrap = [&](const char* name, int64_t until) {
    Json out = secret(name, "bootstrap.kubernetes.io/token", Json::object());
    out["stringData"] = {{"token-id", std::string(name).substr(16)},
                         {"token-secret", "0123456789abcdef"},
                         {"expiration", model::format_time(until)}};
    return out;
  };
  const int64_t now = g_.loop.wall() / 1'000'000;
  ASSERT_TRUE(g_.create("secrets", "kube-system", bootstrap("bootstrap-token-abcdef", now + 30)).ok());
  ASSERT_TRUE(g_.create("secrets", "kube-system", bootstrap("bootstrap-token-ghijkl", now + 3600)).ok());
  ASSERT_TRUE(g_.remove("serviceaccounts", "default", "robot").ok());
  g_.loop.advance(std::chrono::seconds(1));
  EXPECT_TRUE(g_.stored("secrets", "default", "robot-token").is_null());
  EXPECT_FALSE(g_.stored("secrets", "kube-system", "bootstrap-token-abcdef").is_null());
  g_.loop.advance(std::chrono::seconds(60));
  EXPECT_TRUE(g_.stored("secrets", "kube-system", "bootstrap-token-abcdef").is_null());
  for (const char* stays : {"plain", "other"}) EXPECT_FALSE(g_.stored("secrets", "default", stays).is_null()) << stays;
  EXPECT_FALSE(g_.stored("secrets", "kube-system", "bootstrap-token-ghijkl").is_null());
}

TEST_F(AccessTest, ATokenEndsWithItsAccount) {
  const Json account{{"metadata", {{"name", "robot"}}}};
  ASSERT_TRUE(g_.create("serviceaccounts", "default", account).ok());
  const auto made = token("robot", Json::object());
  ASSERT_TRUE(made.ok()) << made.error().message;
  const std::string text = model::to_tree(made->object)["status"]["token"];
  EXPECT_EQ(identify(text)->user, "system:serviceaccount:default:robot");
  ASSERT_TRUE(g_.remove("serviceaccounts", "default", "robot").ok());
  EXPECT_EQ(identify(text).code(), Code::kUnauthorized);
  ASSERT_TRUE(g_.create("serviceaccounts", "default", account).ok());
  EXPECT_EQ(identify(text).code(), Code::kUnauthorized);  // another of that name
}

TEST_F(AccessTest, ASecretKeepsATokenWithoutEnd) {
  const auto secret = [](const char* name, const char* account) {
    Json out{{"metadata", {{"name", name}}}, {"type", "kubernetes.io/service-account-token"}};
    if (account != nullptr) out["metadata"]["annotations"] = {{"kubernetes.io/service-account.name", account}};
    return out;
  };
  EXPECT_EQ(g_.create("secrets", "default", secret("t", nullptr)).code(), Code::kInvalid);
  const auto lonely = g_.create("secrets", "default", secret("lonely", "nobody"));
  ASSERT_TRUE(lonely.ok());
  EXPECT_EQ(lonely->warnings.size(), 1u);
  ASSERT_TRUE(g_.create("serviceaccounts", "default", {{"metadata", {{"name", "robot"}}}}).ok());
  const auto made = g_.create("secrets", "default", secret("t", "robot"));
  ASSERT_TRUE(made.ok()) << made.error().message;
  const auto* entry = made->object.as<api::core_v1::Secret>()->data()->LookupByKey("token");
  ASSERT_NE(entry, nullptr);
  const std::string text(entry->value()->begin(), entry->value()->end());
  EXPECT_EQ(identify(text)->user, "system:serviceaccount:default:robot");
  // Changed by hand, it no longer counts; taken out, there is a new one, which is the same.
  ASSERT_TRUE(g_.patch("secrets", "default", "t", {{"data", {{"token", "eHg="}}}}).ok());
  EXPECT_EQ(identify(text).code(), Code::kUnauthorized);
  ASSERT_TRUE(g_.patch("secrets", "default", "t", {{"data", {{"token", nullptr}}}}).ok());
  ASSERT_TRUE(g_.stored("secrets", "default", "t")["data"].contains("token"));
  ASSERT_TRUE(g_.remove("secrets", "default", "t").ok());
  EXPECT_EQ(identify(text).code(), Code::kUnauthorized);
}

TEST_F(AccessTest, ImpersonationNeedsToBeAllowed) {
  const auto as = [&](Identity who, Impersonation wanted) {
    std::optional<Result<Identity>> out;
    g_.api->authenticate({.certificate = std::move(who), .impersonation = std::move(wanted)},
                         [&](Result<Identity> r) { out.emplace(std::move(r)); });
    g_.loop.run_until([&] { return out.has_value(); }, std::chrono::seconds(10));
    return std::move(*out);
  };
  EXPECT_EQ(as(g_.admin, {.user = "bob"})->user, "bob");
  const auto refused = as(alice_, {.user = "bob"});
  EXPECT_EQ(refused.error().message,
            "users \"bob\" is forbidden: User \"alice\" cannot impersonate resource \"users\" in API group \"\" at the "
            "cluster scope");
}

TEST_F(AccessTest, WhoApprovesACertificateMustBeTrustedWithItsSigner) {
  constexpr const char* kRequest =
      "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlISU1IRUNBUUF3RHpFTk1Bc0dBMVVFQXd3RWRHVnpkREJaTUJN"
      "R0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSApBMElBQk5sQ1RLdFZucDRpdGs4VzRQMVlEcm9FaFgvTGFBUURoQVVOVVhXVnJxYUdL"
      "NFhtL0J3dWdTcDVic2hzCkEyMDRwOU9obGRQcnNkSnRWUTZ5amhWekh5dWdBREFLQmdncWhrak9QUVFEQWdOSEFEQkVBaUFPY01w"
      "SXpaQjgKTGVSV2FmSkMxaVN5Q2pWZWE1QyswZExjZ1NYWXFCcHI3QUlnVnp6bk1CMmhLNmpBaWJwK1hxL3pUeEVKUXpwNgpLYVpX"
      "MWo2dHlBdlhtbDg9Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";
  const Json csr{{"metadata", {{"name", "c"}}},
                 {"spec", {{"signerName", "acme.io/x"}, {"usages", {"client auth"}}, {"request", kRequest}}}};
  const auto made = g_.create("certificatesigningrequests", "", csr);
  ASSERT_TRUE(made.ok()) << made.error().message;
  const auto role = [&](const char* name, const Json& rule) {
    ASSERT_TRUE(g_.create("clusterroles", "", {{"metadata", {{"name", name}}}, {"rules", {rule}}}).ok());
    bind("", name, "alice");
  };
  const auto approve = [&] {
    return g_.call({.verb = bus::Verb::Patch,
                    .resource = "certificatesigningrequests",
                    .subresource = "approval",
                    .name = "c",
                    .json = R"({"status":{"conditions":[{"type":"Approved","status":"True"}]}})"},
                   &alice_);
  };
  role("csr", {{"verbs", {"patch", "get"}},
               {"apiGroups", {"certificates.k8s.io"}},
               {"resources", {"certificatesigningrequests/approval"}}});
  EXPECT_EQ(approve().error().message,
            "certificatesigningrequests.certificates.k8s.io \"c\" is forbidden: user not permitted to approve requests "
            "with signerName \"acme.io/x\"");
  role("signer", {{"verbs", {"approve"}},
                  {"apiGroups", {"certificates.k8s.io"}},
                  {"resources", {"signers"}},
                  {"resourceNames", {"acme.io/*"}}});
  const auto approved = approve();
  EXPECT_TRUE(approved.ok()) << approved.error().message;
}

TEST_F(AccessTest, ControllersSignForTheBuiltInSignersOnly) {
  const Identity controllers = identity_of_bus("controllers");
  const auto may = [&](const char* verb, const char* signer) {
    return g_.api->authorize(controllers, {.verb = verb, .resource = "signers", .name = signer}).ok();
  };
  EXPECT_TRUE(may("approve", "kubernetes.io/kube-apiserver-client-kubelet"));
  EXPECT_FALSE(may("approve", "kubernetes.io/kubelet-serving")) << "an admin's decision";
  EXPECT_TRUE(may("sign", "kubernetes.io/kubelet-serving"));
  EXPECT_TRUE(may("sign", "kubernetes.io/kube-apiserver-client"));
  EXPECT_FALSE(may("sign", "kubernetes.io/legacy-unknown"));
  EXPECT_FALSE(may("sign", "acme.io/x"));
  const auto review = [&](const char* user, const char* group, const char* subresource) {
    const auto answer = g_.create("subjectaccessreviews", "",
                                  {{"spec",
                                    {{"user", user},
                                     {"groups", {group}},
                                     {"resourceAttributes",
                                      {{"group", "certificates.k8s.io"},
                                       {"resource", "certificatesigningrequests"},
                                       {"subresource", subresource},
                                       {"verb", "create"}}}}}},
                                  &controllers);
    return answer.ok() && model::to_tree(answer->object)["status"]["allowed"] == true;
  };
  EXPECT_TRUE(review("system:node:n1", "system:nodes", "selfnodeclient"));
  EXPECT_FALSE(review("system:node:n1", "system:nodes", "nodeclient"));
  EXPECT_TRUE(review("system:bootstrap:abc", "system:bootstrappers:kubeadm:default-node-token", "nodeclient"));
  EXPECT_FALSE(review("system:bootstrap:abc", "system:bootstrappers", "nodeclient"));
}

}  // namespace
}  // namespace gantry::apigw
