// What concerns several objects: the start of a cluster, namespaces, allocation for Services, leases, who may do what.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "services/apigw/core/testing/test_gateway.h"

namespace gantry::apigw::testing {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

class ClusterTest : public ::testing::Test {
 protected:
  Result<Answer> create_namespace(const char* name) {
    return g.create("namespaces", "", {{"metadata", {{"name", name}}}});
  }
  TestGateway g;
};

TEST_F(ClusterTest, StartsWithItsNamespacesAndItsService) {
  for (const char* name : {"default", "kube-system", "kube-public", "kube-node-lease"}) {
    const Json ns = g.stored("namespaces", "", name);
    EXPECT_EQ(ns["status"]["phase"], "Active");
    EXPECT_EQ(ns["spec"]["finalizers"], Json::array({"kubernetes"}));
    EXPECT_EQ(ns["metadata"]["labels"]["kubernetes.io/metadata.name"], name);
  }
  EXPECT_EQ(g.stored("services", "default", "kubernetes")["spec"]["clusterIP"], "10.96.0.1");
  EXPECT_EQ(g.stored("endpoints", "default", "kubernetes")["subsets"][0]["addresses"][0]["ip"], "192.0.2.1");
  EXPECT_EQ(g.stored("endpointslices", "default", "kubernetes")["endpoints"].size(), 1);
}

TEST_F(ClusterTest, AnotherGatewayAddsItsAddress) {
  auto second = g.another();
  EXPECT_EQ(g.stored("endpoints", "default", "kubernetes")["subsets"][0]["addresses"].size(), 2);
  EXPECT_EQ(g.stored("endpointslices", "default", "kubernetes")["endpoints"].size(), 2);
  auto again = g.another();
  EXPECT_EQ(g.stored("endpointslices", "default", "kubernetes")["endpoints"].size(), 2);
}

TEST_F(ClusterTest, ADeadGatewaysAddressGoes) {
  const auto addresses = [this] {
    g.loop.drain();
    return std::pair(g.stored("endpoints", "default", "kubernetes")["subsets"][0]["addresses"].size(),
                     g.stored("endpointslices", "default", "kubernetes")["endpoints"].size());
  };
  auto second = g.another();
  g.loop.advance(std::chrono::minutes(2));
  EXPECT_EQ(addresses(), (std::pair<size_t, size_t>(2, 2)));
  second.reset();
  g.loop.advance(std::chrono::seconds(9));
  EXPECT_EQ(addresses(), (std::pair<size_t, size_t>(2, 2))) << "it may come back";
  g.loop.advance(std::chrono::seconds(15));
  EXPECT_EQ(addresses(), (std::pair<size_t, size_t>(1, 1)));
  EXPECT_EQ(g.stored("endpoints", "default", "kubernetes")["subsets"][0]["addresses"][0]["ip"], "192.0.2.1");
  second = g.another();
  EXPECT_EQ(addresses(), (std::pair<size_t, size_t>(2, 2)));
}

TEST_F(ClusterTest, AGatewayPutsItsOwnAddressBack) {
  ASSERT_TRUE(g.remove("endpoints", "default", "kubernetes").ok());
  g.loop.advance(std::chrono::seconds(6));
  EXPECT_EQ(g.stored("endpoints", "default", "kubernetes")["subsets"][0]["addresses"].size(), 1);
}

TEST_F(ClusterTest, NothingIsCreatedWhereThereIsNoNamespace) {
  const auto answer = g.create("pods", "nowhere", TestGateway::pod("web"));
  ASSERT_EQ(answer.code(), Code::kNotFound);
  EXPECT_EQ(answer.error().message, "namespaces \"nowhere\" not found");
}

TEST_F(ClusterTest, ANamespaceTerminatesAndGoesWhenItIsEmpty) {
  ASSERT_TRUE(create_namespace("team").ok());
  ASSERT_TRUE(g.create("configmaps", "team", {{"metadata", {{"name", "c"}}}}).ok());
  ASSERT_TRUE(g.remove("namespaces", "", "team").ok());
  EXPECT_EQ(g.stored("namespaces", "", "team")["status"]["phase"], "Terminating");
  const auto refused = g.create("configmaps", "team", {{"metadata", {{"name", "d"}}}});
  ASSERT_EQ(refused.code(), Code::kForbidden);
  EXPECT_THAT(refused.error().message, HasSubstr("configmaps \"d\" is forbidden: unable to create new content in "
                                                 "namespace team because it is being terminated"));
  EXPECT_EQ(refused.error().causes[0].reason, "NamespaceTerminating");
  EXPECT_TRUE(g.remove("configmaps", "team", "c").ok());
  const auto gone = g.update("namespaces", "",
                             {{"metadata", {{"name", "team"}}}, {"spec", {{"finalizers", Json::array()}}}}, "finalize");
  ASSERT_TRUE(gone.ok()) << gone.error().message;
  EXPECT_EQ(gone->outcome, Answer::Outcome::kDeleted);
  ASSERT_TRUE(create_namespace("team").ok());
  EXPECT_TRUE(g.create("configmaps", "team", {{"metadata", {{"name", "d"}}}}).ok())
      << "the claim went with the old one";
}

TEST_F(ClusterTest, AGatewayThatHasNotSeenTheDeletionDoesNotCreate) {
  ASSERT_TRUE(create_namespace("team").ok());
  auto second = g.another();
  // Both in one turn: the second gateway's view is behind, the claim is not.
  std::optional<Result<Answer>> created;
  g.api->handle(g.admin, {.verb = bus::Verb::Delete, .resource = "namespaces", .name = "team"}, [](Result<Answer>) {});
  second->handle(g.admin,
                 {.verb = bus::Verb::Create, .resource = "pods", .ns = "team", .json = TestGateway::pod("web").dump()},
                 [&](Result<Answer> a) { created.emplace(std::move(a)); });
  g.loop.drain();
  ASSERT_TRUE(created);
  EXPECT_EQ(created->code(), Code::kForbidden);
}

TEST_F(ClusterTest, DefaultNamespacesStay) {
  const auto answer = g.remove("namespaces", "", "kube-system");
  ASSERT_EQ(answer.code(), Code::kForbidden);
  EXPECT_EQ(answer.error().message, "namespaces \"kube-system\" is forbidden: this namespace may not be deleted");
}

TEST_F(ClusterTest, AServiceGetsItsAddress) {
  ASSERT_TRUE(g.create("services", "default", TestGateway::service("web")).ok());
  const Json service = g.stored("services", "default", "web");
  const std::string ip = service["spec"]["clusterIP"];
  EXPECT_THAT(ip, HasSubstr("10.96."));
  EXPECT_EQ(service["spec"]["clusterIPs"], Json::array({ip}));
  EXPECT_EQ(service["spec"]["ports"][0]["targetPort"], 80);
  EXPECT_EQ(service["spec"]["ipFamilyPolicy"], "SingleStack");

  Json other = TestGateway::service("other");
  other["spec"]["clusterIP"] = ip;
  const auto taken = g.create("services", "default", other);
  ASSERT_EQ(taken.code(), Code::kInvalid);
  EXPECT_THAT(taken.error().message, HasSubstr("provided IP is already allocated"));
  other["spec"]["clusterIP"] = "192.168.0.1";
  EXPECT_THAT(g.create("services", "default", other).error().message, HasSubstr("is not in the valid range"));

  ASSERT_TRUE(g.remove("services", "default", "web").ok());
  other["spec"]["clusterIP"] = ip;
  EXPECT_TRUE(g.create("services", "default", other).ok()) << "free again";
}

TEST_F(ClusterTest, TwoGatewaysNeverGiveOutOneAddress) {
  auto second = g.another();
  Json a = TestGateway::service("a"), b = TestGateway::service("b");
  a["spec"]["clusterIP"] = b["spec"]["clusterIP"] = "10.96.7.7";
  int made = 0;
  std::string refusal;
  for (auto& [api, body] : {std::pair{g.api.get(), a}, std::pair{second.get(), b}}) {
    api->handle(g.admin, {.verb = bus::Verb::Create, .resource = "services", .ns = "default", .json = body.dump()},
                [&](Result<Answer> answer) { answer.ok() ? void(++made) : void(refusal = answer.error().message); });
  }
  g.loop.drain();
  EXPECT_EQ(made, 1);
  EXPECT_THAT(refusal, HasSubstr("failed to allocate IP 10.96.7.7: provided IP is already allocated"));
}

TEST_F(ClusterTest, HeadlessAndExternalServicesNeedNoAddress) {
  Json headless = TestGateway::service("headless");
  headless["spec"]["clusterIP"] = "None";
  ASSERT_TRUE(g.create("services", "default", headless).ok());
  EXPECT_EQ(g.stored("services", "default", "headless")["spec"]["clusterIPs"], Json::array({"None"}));
  Json external = TestGateway::service("external", "ExternalName");
  external["spec"]["externalName"] = "example.com";
  ASSERT_TRUE(g.create("services", "default", external).ok());
  EXPECT_FALSE(g.stored("services", "default", "external")["spec"].contains("clusterIP"));
}

TEST_F(ClusterTest, NodePortsComeAndGoWithTheType) {
  ASSERT_TRUE(g.create("services", "default", TestGateway::service("web", "NodePort")).ok());
  const Json service = g.stored("services", "default", "web");
  const int port = service["spec"]["ports"][0]["nodePort"];
  EXPECT_GE(port, 30000);
  EXPECT_LE(port, 32767);
  EXPECT_EQ(service["spec"]["externalTrafficPolicy"], "Cluster");
  // An update that does not say keeps both.
  ASSERT_TRUE(g.update("services", "default", TestGateway::service("web", "NodePort")).ok());
  EXPECT_EQ(g.stored("services", "default", "web")["spec"]["ports"][0]["nodePort"], port);
  EXPECT_EQ(g.stored("services", "default", "web")["spec"]["clusterIP"], service["spec"]["clusterIP"]);

  Json other = TestGateway::service("other", "NodePort");
  other["spec"]["ports"][0]["nodePort"] = port;
  EXPECT_THAT(g.create("services", "default", other).error().message,
              HasSubstr("spec.ports[0].nodePort: Invalid value"));
  other["spec"]["ports"][0]["nodePort"] = 80;
  EXPECT_THAT(g.create("services", "default", other).error().message,
              HasSubstr("The range of valid ports is 30000-32767"));

  Json back = g.stored("services", "default", "web");
  back["spec"]["type"] = "ClusterIP";
  const auto turned = g.update("services", "default", back);
  ASSERT_TRUE(turned.ok()) << turned.error().message;
  EXPECT_FALSE(g.stored("services", "default", "web")["spec"]["ports"][0].contains("nodePort"));
  other["spec"]["ports"][0]["nodePort"] = port;
  EXPECT_TRUE(g.create("services", "default", other).ok()) << "free again";
}

TEST_F(ClusterTest, AClusterIpStays) {
  ASSERT_TRUE(g.create("services", "default", TestGateway::service("web")).ok());
  const auto answer =
      g.patch("services", "default", "web", {{"spec", {{"clusterIP", "10.96.1.1"}, {"clusterIPs", {"10.96.1.1"}}}}});
  ASSERT_EQ(answer.code(), Code::kInvalid);
  EXPECT_THAT(answer.error().message, HasSubstr("may not change once set"));
}

TEST_F(ClusterTest, LeasesAreHeldByOneAndShown) {
  const auto hold = [&](const char* holder) {
    const Json lease{{"metadata", {{"name", "scheduler"}}},
                     {"spec", {{"holderIdentity", holder}, {"leaseDurationSeconds", 10}}}};
    const Identity scheduler = identity_of_bus("scheduler");
    return g.update("leases", "kube-system", lease, "hold", &scheduler);
  };
  const auto first = hold("a");
  ASSERT_TRUE(first.ok()) << first.error().message;
  EXPECT_EQ(hold("a")->revision, first->revision) << "renewed";
  EXPECT_EQ(hold("b").code(), Code::kConflict);
  g.loop.drain();
  EXPECT_EQ(g.stored("leases", "kube-system", "scheduler")["spec"]["holderIdentity"], "a");
  g.loop.advance(std::chrono::seconds(11));
  const auto second = hold("b");
  ASSERT_TRUE(second.ok());
  EXPECT_GT(second->revision, first->revision);
  const Identity scheduler = identity_of_bus("scheduler");
  ASSERT_TRUE(g.create("pods", "default", TestGateway::pod("web")).ok());
  bus::Command bind{.verb = bus::Verb::Bind,
                    .resource = "pods",
                    .ns = "default",
                    .name = "web",
                    .lease = "scheduler",
                    .lease_epoch = first->revision,
                    .node = "n1"};
  EXPECT_EQ(g.call(bind, &scheduler).code(), Code::kForbidden) << "the old leader decides nothing";
  bind.lease_epoch = second->revision;
  EXPECT_TRUE(g.call(bind, &scheduler).ok());
}

TEST_F(ClusterTest, EventsGoAfterAnHour) {
  const auto event = [](const char* name) {
    return Json{{"metadata", {{"name", name}}}, {"involvedObject", {{"namespace", "default"}}}};
  };
  ASSERT_TRUE(g.create("events", "default", event("old")).ok());
  g.loop.advance(std::chrono::minutes(40));
  ASSERT_TRUE(g.create("events", "default", event("new")).ok());
  EXPECT_EQ(g.list("events")->items.size(), 2);
  g.loop.advance(std::chrono::minutes(25));
  const auto left = g.list("events");
  ASSERT_EQ(left->items.size(), 1);
  EXPECT_EQ(left->items[0].name(), "new");
}

TEST_F(ClusterTest, ANodeSeesItsOwn) {
  const Identity node = identity_of_bus("node-n1");
  ASSERT_TRUE(g.create("nodes", "", {{"metadata", {{"name", "n1"}}}}, &node).ok());
  const auto foreign = g.create("nodes", "", {{"metadata", {{"name", "n2"}}}}, &node);
  EXPECT_EQ(foreign.code(), Code::kForbidden);
  Json pod = TestGateway::pod("web");
  pod["spec"]["volumes"] = {{{"name", "v"}, {"secret", {{"secretName", "mine"}}}}};
  ASSERT_TRUE(g.create("pods", "default", pod).ok());
  for (const char* name : {"mine", "other"})
    ASSERT_TRUE(g.create("secrets", "default", {{"metadata", {{"name", name}}}}).ok());
  const auto before = g.get("pods", "default", "web", "", &node);
  ASSERT_EQ(before.code(), Code::kForbidden);
  EXPECT_EQ(before.error().message,
            "pods \"web\" is forbidden: User \"system:node:n1\" cannot get resource \"pods\" in API group \"\" in the "
            "namespace \"default\"");
  ASSERT_TRUE(g.bind("default", "web", "n1").ok());
  EXPECT_TRUE(g.get("pods", "default", "web", "", &node).ok());
  EXPECT_TRUE(g.get("secrets", "default", "mine", "", &node).ok());
  EXPECT_EQ(g.get("secrets", "default", "other", "", &node).code(), Code::kForbidden);
  EXPECT_EQ(g.create("pods", "default", TestGateway::pod("own"), &node).code(), Code::kForbidden);
  const auto chain = [&](const char* on) {
    return g.call({.verb = bus::Verb::Snapshot, .resource = "pods", .node = on}, &node);
  };
  EXPECT_TRUE(chain("n1").ok());
  EXPECT_EQ(chain("n2").code(), Code::kForbidden);
  EXPECT_EQ(chain("").code(), Code::kForbidden);
}

TEST_F(ClusterTest, StrangersMayNothing) {
  const Identity stranger = identity_of_user("eve", {});
  EXPECT_EQ(g.get("namespaces", "", "default", "", &stranger).error().message,
            "namespaces \"default\" is forbidden: User \"eve\" cannot get resource \"namespaces\" in API group \"\" in "
            "the namespace \"default\"");
  EXPECT_TRUE(g.api->authorize(anonymous(), {.verb = "get", .path = "/version"}).ok());
  EXPECT_EQ(g.api->authorize(anonymous(), {.verb = "get", .path = "/metrics"}).error().message,
            "forbidden: User \"system:anonymous\" cannot get path \"/metrics\"");
  const Identity controllers = identity_of_bus("controllers");
  ASSERT_TRUE(g.create("secrets", "default", {{"metadata", {{"name", "s"}}}}).ok());
  EXPECT_EQ(g.get("secrets", "default", "s", "", &controllers).code(), Code::kForbidden);
  EXPECT_TRUE(g.remove("secrets", "default", "s", &controllers).ok());
}

}  // namespace
}  // namespace gantry::apigw::testing
