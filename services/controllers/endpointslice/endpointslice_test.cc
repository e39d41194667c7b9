#include "services/controllers/endpointslice/endpointslice.h"

#include <gtest/gtest.h>

#include "services/controllers/endpointslice/mirroring.h"
#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct EndpointSliceTest : ::testing::Test {
  void SetUp() override {
    h.start(std::make_unique<EndpointSliceController>());
    h.cluster.add(
        R"({"apiVersion":"v1","kind":"Node","metadata":{"name":"n1","labels":{"topology.kubernetes.io/zone":"z1"}}})");
  }
  void service(std::string_view spec = "",
               std::string_view ports = R"([{"name":"http","port":80,"targetPort":"web"}])") {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"Service","metadata":{{"name":"s","namespace":"d","labels":{{"team":"blue"}}}},"spec":{{"selector":{{"app":"web"}},{}"ports":{}}}}})",
        spec, ports));
  }
  void pod(std::string_view name, std::string_view ip, bool ready = true, int port = 8080, std::string_view meta = "") {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{}","namespace":"d","labels":{{"app":"web"}}{}}},
      "spec":{{"nodeName":"n1","containers":[{{"name":"c","ports":[{{"name":"web","containerPort":{}}}]}}]}},
      "status":{{"phase":"Running","podIP":"{}","conditions":[{{"type":"Ready","status":"{}"}}]}}}})",
        name, meta, port, ip, ready ? "True" : "False"));
  }
  std::vector<json> slices() { return h.cluster.all("endpointslices"); }
  testing::Harness h;
};

TEST_F(EndpointSliceTest, TellsAllThatProxiesNeed) {
  service();
  pod("a", "10.0.0.1");
  pod("b", "10.0.0.2", false);
  pod("c", "10.0.0.3", true, 8080,
      fmt::format(R"(,"deletionTimestamp":"{}","deletionGracePeriodSeconds":30)", h.now()));
  pod("no-ip", "");
  h.run();
  ASSERT_EQ(slices().size(), 1u);
  json slice = slices()[0];
  EXPECT_TRUE(slice["metadata"]["name"].get<std::string>().starts_with("s-"));
  EXPECT_EQ(slice["metadata"]["labels"],
            (json{{"team", "blue"},
                  {"kubernetes.io/service-name", "s"},
                  {"endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"}}));
  EXPECT_EQ(slice["metadata"]["ownerReferences"][0]["kind"], "Service");
  EXPECT_EQ(slice["addressType"], "IPv4");
  EXPECT_EQ(slice["ports"], (json::array({{{"name", "http"}, {"protocol", "TCP"}, {"port", 8080}}})));
  ASSERT_EQ(slice["endpoints"].size(), 3u);
  json a = slice["endpoints"][0];
  EXPECT_EQ(a["addresses"], json::array({"10.0.0.1"}));
  EXPECT_EQ(a["conditions"], (json{{"ready", true}, {"serving", true}, {"terminating", false}}));
  EXPECT_EQ(a["nodeName"], "n1");
  EXPECT_EQ(a["zone"], "z1");
  EXPECT_EQ(a["targetRef"]["name"], "a");
  EXPECT_EQ(slice["endpoints"][1]["conditions"], (json{{"ready", false}, {"serving", false}, {"terminating", false}}));
  EXPECT_EQ(slice["endpoints"][2]["conditions"], (json{{"ready", false}, {"serving", true}, {"terminating", true}}));

  json endpoints = *h.cluster.get("endpoints", "d/s");
  ASSERT_EQ(endpoints["subsets"].size(), 1u);
  EXPECT_EQ(endpoints["subsets"][0]["addresses"].size(), 1u);
  EXPECT_EQ(endpoints["subsets"][0]["notReadyAddresses"].size(), 1u);
  EXPECT_EQ(endpoints["subsets"][0]["ports"][0]["port"], 8080);
}

TEST_F(EndpointSliceTest, FollowsPodsAndThenRests) {
  service();
  pod("a", "10.0.0.1", false);
  h.run();
  h.cluster.edit("pods", "d/a", R"({"status":{"conditions":[{"type":"Ready","status":"True"}]}})");
  h.pass(1s);
  EXPECT_EQ(slices()[0]["endpoints"][0]["conditions"]["ready"], true);
  size_t log = h.cluster.log.size();
  h.cluster.edit("pods", "d/a", R"({"status":{"message":"nothing that endpoints tell"}})");
  h.pass(1min);
  EXPECT_EQ(h.cluster.log.size(), log);
  h.cluster.erase("pods", "d/a");
  h.pass(1s);
  ASSERT_EQ(slices().size(), 1u);  // empty, so that watchers know
  EXPECT_EQ(slices()[0]["endpoints"].size(), 0u);
  EXPECT_FALSE(h.cluster.get("endpoints", "d/s")->contains("subsets"));
}

TEST_F(EndpointSliceTest, AHundredASliceAndNewOnesFillHoles) {
  service();
  for (int i = 0; i < 250; ++i) pod(fmt::format("p{:03}", i), fmt::format("10.0.{}.{}", i / 200, i % 200 + 1));
  h.run();
  ASSERT_EQ(slices().size(), 3u);
  h.cluster.erase("pods", "d/p000");
  h.pass(1s);
  pod("later", "10.1.0.1");
  h.pass(1s);
  size_t total = 0;
  for (const json& slice : slices()) {
    EXPECT_LE(slice["endpoints"].size(), 100u);
    total += slice["endpoints"].size();
  }
  EXPECT_EQ(total, 250u);
  EXPECT_EQ(slices().size(), 3u);
}

TEST_F(EndpointSliceTest, NamedPortsThatDifferMakeSlicesOfTheirOwn) {
  service();
  pod("a", "10.0.0.1", true, 8080);
  pod("b", "10.0.0.2", true, 9090);
  h.run();
  ASSERT_EQ(slices().size(), 2u);
  std::set<int> ports;
  for (const json& slice : slices()) ports.insert(slice["ports"][0]["port"].get<int>());
  EXPECT_EQ(ports, (std::set<int>{8080, 9090}));
}

TEST_F(EndpointSliceTest, HeadlessAndPublishNotReady) {
  service(R"("clusterIP":"None","publishNotReadyAddresses":true,)", "[]");
  h.cluster.add(R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"db-0","namespace":"d","labels":{"app":"web"}},
    "spec":{"hostname":"db-0","subdomain":"s","containers":[]},"status":{"podIP":"10.0.0.9"}})");
  h.run();
  ASSERT_EQ(slices().size(), 1u);
  EXPECT_EQ(slices()[0]["metadata"]["labels"]["service.kubernetes.io/headless"], "");
  EXPECT_EQ(slices()[0]["endpoints"][0]["hostname"], "db-0");
  EXPECT_EQ(slices()[0]["endpoints"][0]["conditions"]["ready"], true);
}

TEST_F(EndpointSliceTest, ServicesWithoutASelectorAreLeftAlone) {
  h.cluster.add(
      R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"kubernetes","namespace":"default"},"spec":{"ports":[{"port":443}]}})");
  h.run(10s);
  EXPECT_EQ(h.cluster.log.size(), 0u);
}

TEST_F(EndpointSliceTest, TrafficDistributionGivesHints) {
  service(R"("trafficDistribution":"PreferClose",)");
  pod("a", "10.0.0.1");
  h.run();
  EXPECT_EQ(slices()[0]["endpoints"][0]["hints"], (json{{"forZones", {{{"name", "z1"}}}}}));
  h.cluster.edit("services", "d/s", R"({"spec":{"trafficDistribution":"PreferSameNode"}})");
  h.pass(1s);
  EXPECT_EQ(slices()[0]["endpoints"][0]["hints"],
            (json{{"forZones", {{{"name", "z1"}}}}, {"forNodes", {{{"name", "n1"}}}}}));
  h.cluster.edit("services", "d/s", R"({"spec":{"trafficDistribution":null}})");
  h.pass(1s);
  EXPECT_FALSE(slices()[0]["endpoints"][0].contains("hints"));
}

struct MirroringTest : ::testing::Test {
  void SetUp() override {
    h.start(std::make_unique<EndpointSliceMirroringController>());
    h.cluster.add(
        R"({"apiVersion":"v1","kind":"Service","metadata":{"name":"s","namespace":"d"},"spec":{"ports":[{"port":443}]}})");
  }
  void endpoints(std::string_view addresses, std::string_view labels = "{}") {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"Endpoints","metadata":{{"name":"s","namespace":"d","labels":{}}},
            "subsets":[{{"addresses":{},"ports":[{{"name":"web","port":8443}}]}}]}})",
        labels, addresses));
  }
  std::vector<json> slices() { return h.cluster.all("endpointslices"); }
  testing::Harness h;
};

TEST_F(MirroringTest, EndpointsByHandBecomeSlicesOfEachFamily) {
  endpoints(R"([{"ip":"192.0.2.1"},{"ip":"192.0.2.2"},{"ip":"2001:db8::1"}])", R"({"team":"blue"})");
  h.run();
  auto found = slices();
  ASSERT_EQ(found.size(), 2u);
  if (found[0]["addressType"] != "IPv4") std::swap(found[0], found[1]);
  EXPECT_EQ(found[0]["metadata"]["labels"],
            (json{{"team", "blue"},
                  {"kubernetes.io/service-name", "s"},
                  {"endpointslice.kubernetes.io/managed-by", "endpointslicemirroring-controller.k8s.io"}}));
  EXPECT_EQ(found[0]["metadata"]["ownerReferences"][0]["kind"], "Endpoints");
  EXPECT_EQ(found[0]["endpoints"].size(), 2u);
  EXPECT_EQ(found[0]["endpoints"][0]["conditions"]["ready"], true);
  EXPECT_FALSE(found[0]["endpoints"][0].contains("targetRef"));
  EXPECT_EQ(found[0]["ports"][0], (json{{"name", "web"}, {"protocol", "TCP"}, {"port", 8443}}));
  EXPECT_EQ(found[1]["endpoints"][0]["addresses"], json::array({"2001:db8::1"}));
  size_t log = h.cluster.log.size();
  h.pass(1min);
  EXPECT_EQ(h.cluster.log.size(), log);
  h.cluster.edit("endpoints", "d/s",
                 R"({"subsets":[{"addresses":[{"ip":"192.0.2.2"}],"ports":[{"name":"web","port":8443}]}]})");
  h.pass(1s);
  ASSERT_EQ(slices().size(), 1u);
  EXPECT_EQ(slices()[0]["endpoints"][0]["addresses"], json::array({"192.0.2.2"}));
  h.cluster.edit("services", "d/s", R"({"spec":{"selector":{"app":"web"}}})");
  h.pass(1s);
  EXPECT_TRUE(slices().empty()) << "the Service has pods of its own now";
}

TEST_F(MirroringTest, WhatHasSlicesAlreadyIsLeftAlone) {
  endpoints(R"([{"ip":"192.0.2.1"}])", R"({"endpointslice.kubernetes.io/skip-mirror":"true"})");
  h.run(10s);
  EXPECT_TRUE(slices().empty());
}

}  // namespace
}  // namespace gantry::controllers
