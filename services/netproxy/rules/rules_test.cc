#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <random>

#include "libs/model/json.h"
#include "services/netproxy/rules/nft.h"
#include "services/netproxy/rules/ruleset.h"

namespace gantry::netproxy {
namespace {

struct View {
  projection::Cache services{*model::Schema::get().by_resource("services")};
  projection::Cache slices{*model::Schema::get().by_resource("endpointslices")};
  uint64_t revision = 0;
  View() { add_service_index(slices); }

  void put(projection::Cache& cache, const std::string& json) {
    auto bytes = model::from_json(cache.kind(), json);
    ASSERT_TRUE(bytes.ok()) << bytes.error().message;
    ++revision;
    cache.put(model::Object(cache.kind(), *bytes, revision), revision);
  }
  void service(const std::string& name, const std::string& spec) {
    put(services, R"({"metadata":{"name":")" + name + R"(","namespace":"default"},"spec":)" + spec + "}");
  }
  void slice(const std::string& service, const std::string& endpoints, const std::string& ports) {
    put(slices, R"({"metadata":{"name":")" + service +
                    R"(-a","namespace":"default","labels":{"kubernetes.io/service-name":")" + service +
                    R"("}},"addressType":"IPv4","endpoints":)" + endpoints + R"(,"ports":)" + ports + "}");
  }
  std::vector<Frontend> frontends() { return collect_frontends(services, slices, "n1"); }
};

constexpr const char* kPorts = R"([{"name":"http","protocol":"TCP","port":8080}])";
constexpr const char* kSpec =
    R"({"type":"NodePort","clusterIP":"10.96.0.7","ports":[{"name":"http","port":80,"nodePort":30080,"protocol":"TCP"}]})";

TEST(Frontends, ReadyEndpointsOfTheRightPort) {
  View v;
  v.service("web", kSpec);
  v.slice("web",
          R"([{"addresses":["10.244.1.2"],"nodeName":"n1","conditions":{"ready":true}},
              {"addresses":["10.244.2.3"],"nodeName":"n2"},
              {"addresses":["10.244.2.4"],"nodeName":"n2","conditions":{"ready":false}}])",
          kPorts);
  auto frontends = v.frontends();
  ASSERT_EQ(frontends.size(), 1u);
  EXPECT_EQ(frontends[0].name, "default/web:http");
  EXPECT_EQ(frontends[0].node_port, 30080);
  EXPECT_EQ(frontends[0].backends, (std::vector<Backend>{{"10.244.1.2", 8080, true}, {"10.244.2.3", 8080, false}}));
}

TEST(Frontends, ServingTerminatingOnesWhenNoneIsReady) {
  View v;
  v.service("web", kSpec);
  v.slice("web", R"([{"addresses":["10.244.1.2"],"conditions":{"ready":false,"serving":true,"terminating":true}}])",
          kPorts);
  EXPECT_EQ(v.frontends()[0].backends.size(), 1u);
}

TEST(Frontends, HeadlessAndExternalNameHaveNone) {
  View v;
  v.service("headless", R"({"clusterIP":"None","ports":[{"port":80}]})");
  v.service("elsewhere", R"({"type":"ExternalName","externalName":"x.org","ports":[{"port":80}]})");
  EXPECT_TRUE(v.frontends().empty());
}

TEST(Ruleset, ServicesWithoutEndpointsAreRefused) {
  View v;
  v.service("web", kSpec);
  auto rules = build_ruleset(v.frontends(), {});
  EXPECT_TRUE(rules.elements["no_endpoints"].contains("10.96.0.7 . tcp . 80"));
  EXPECT_TRUE(rules.elements["no_node_endpoints"].contains("tcp . 30080"));
  EXPECT_TRUE(rules.elements["cluster_ips"].empty());
}

TEST(Ruleset, LocalTrafficPolicyUsesLocalBackendsWithoutMasquerade) {
  View v;
  v.service(
      "web",
      R"({"type":"NodePort","clusterIP":"10.96.0.7","externalTrafficPolicy":"Local","ports":[{"name":"http","port":80,"nodePort":30080}]})");
  v.slice("web", R"([{"addresses":["10.244.1.2"],"nodeName":"n1"},{"addresses":["10.244.2.3"],"nodeName":"n2"}])",
          kPorts);
  auto rules = build_ruleset(v.frontends(), {});
  auto chain = rules.elements["node_ports"]["tcp . 30080"].substr(5);
  const auto& found = rules.chains[chain];
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0], "ip saddr 10.244.0.0/16 goto svc-" + chain.substr(4)) << "pods are inside";
  EXPECT_EQ(found[1], "fib saddr type local goto svc-" + chain.substr(4));
  EXPECT_NE(found[2].find("10.244.1.2 . 8080"), std::string::npos);
  EXPECT_EQ(found[2].find("10.244.2.3"), std::string::npos);
}

TEST(Ruleset, ALoadBalancersAddress) {
  View v;
  auto balanced = [&](const std::string& more, const std::string& mode) {
    v.put(v.services,
          R"({"metadata":{"name":"web","namespace":"default"},"spec":{"type":"LoadBalancer","clusterIP":"10.96.0.7",)" +
              more + R"("externalIPs":["192.0.2.7"],"ports":[{"name":"http","port":80,"nodePort":30080}]},
              "status":{"loadBalancer":{"ingress":[{"ip":"172.30.1.1","ipMode":")" +
              mode + R"("}]}}})");
  };
  v.slice("web", R"([{"addresses":["10.244.2.3"],"nodeName":"n2"}])", kPorts);
  balanced("", "VIP");
  auto rules = build_ruleset(v.frontends(), {});
  auto chain = rules.elements["node_ports"]["tcp . 30080"];
  EXPECT_TRUE(chain.starts_with("goto npt-"));
  EXPECT_EQ(rules.elements["cluster_ips"]["172.30.1.1 . tcp . 80"], chain);
  EXPECT_EQ(rules.elements["cluster_ips"]["192.0.2.7 . tcp . 80"], chain);
  balanced(R"("loadBalancerSourceRanges":["198.51.100.0/24","fd00::/8"],)", "VIP");
  rules = build_ruleset(v.frontends(), {});
  auto guard = rules.elements["cluster_ips"]["172.30.1.1 . tcp . 80"].substr(5);
  EXPECT_EQ(rules.chains[guard], (std::vector<std::string>{"ip saddr 198.51.100.0/24 " + chain, "drop"}));
  EXPECT_EQ(rules.elements["cluster_ips"]["192.0.2.7 . tcp . 80"], chain);
  balanced("", "Proxy");
  rules = build_ruleset(v.frontends(), {});
  EXPECT_FALSE(rules.elements["cluster_ips"].contains("172.30.1.1 . tcp . 80"));
  balanced(R"("externalTrafficPolicy":"Local",)", "VIP");
  rules = build_ruleset(v.frontends(), {});
  EXPECT_TRUE(rules.elements["no_endpoints"].contains("172.30.1.1 . tcp . 80")) << "none on this node";
  EXPECT_TRUE(rules.elements["cluster_ips"].contains("172.30.1.1 . tcp . 80")) << "but pods are inside";
}

TEST(Frontends, HintsChooseTheNodeOrTheZone) {
  View v;
  v.service("web", kSpec);
  auto found = [&](const std::string& zone) {
    std::string out;
    auto frontends = collect_frontends(v.services, v.slices, "n1", zone);
    for (const auto& b : frontends.at(0).backends) out += b.ip.back();
    return out;
  };
  v.slice("web", R"([{"addresses":["10.244.1.2"],"hints":{"forZones":[{"name":"z1"}]}},
                     {"addresses":["10.244.1.3"],"hints":{"forZones":[{"name":"z2"}]}}])",
          kPorts);
  EXPECT_EQ(found("z1"), "2");
  EXPECT_EQ(found("z3"), "23");
  EXPECT_EQ(found(""), "23");
  v.slice("web", R"([{"addresses":["10.244.1.2"],"hints":{"forZones":[{"name":"z1"}],"forNodes":[{"name":"n2"}]}},
                     {"addresses":["10.244.1.3"],"hints":{"forZones":[{"name":"z1"}],"forNodes":[{"name":"n1"}]}}])",
          kPorts);
  EXPECT_EQ(found("z1"), "3");
  v.slice("web", R"([{"addresses":["10.244.1.2"],"hints":{"forZones":[{"name":"z1"}]}},{"addresses":["10.244.1.3"]}])",
          kPorts);
  EXPECT_EQ(found("z1"), "23") << "not every endpoint has one";
}

TEST(Ruleset, AnUpdateTouchesOnlyWhatChanged) {
  View v;
  v.service("web", kSpec);
  v.service("other", R"({"clusterIP":"10.96.0.8","ports":[{"name":"http","port":80}]})");
  v.slice("web", R"([{"addresses":["10.244.1.2"]}])", kPorts);
  v.slice("other", R"([{"addresses":["10.244.1.9"]}])", kPorts);
  auto before = build_ruleset(v.frontends(), {});
  EXPECT_EQ(incremental_update(before, before), "");
  v.slice("web", R"([{"addresses":["10.244.1.2"]},{"addresses":["10.244.1.3"]}])", kPorts);
  auto update = incremental_update(before, build_ruleset(v.frontends(), {}));
  EXPECT_NE(update.find("10.244.1.3"), std::string::npos);
  EXPECT_EQ(update.find("10.244.1.9"), std::string::npos);
  EXPECT_EQ(update.find("delete"), std::string::npos);
}

/// The kernel's own verdict on what is generated, in a network namespace of this test's own.
class InKernel : public ::testing::Test {
 protected:
  void SetUp() override {
    if (geteuid() != 0 || unshare(CLONE_NEWNET) != 0) GTEST_SKIP() << "needs a network namespace";
  }
};

TEST_F(InKernel, FullIncrementalAndRemoval) {
  Nft nft({});
  View v;
  auto apply = [&] {
    auto status = nft.apply(build_ruleset(v.frontends(), {}));
    EXPECT_TRUE(status.ok()) << status.error().message;
  };
  apply();
  v.service("web", kSpec);
  apply();
  v.slice("web", R"([{"addresses":["10.244.1.2"],"nodeName":"n1"},{"addresses":["10.244.2.3"]}])", kPorts);
  apply();
  v.service(
      "dns",
      R"({"clusterIP":"10.96.0.10","sessionAffinity":"ClientIP","ports":[{"name":"http","port":53,"protocol":"UDP"}]})");
  v.slice("dns", R"([{"addresses":["10.244.1.9"]},{"addresses":["10.244.1.8"]}])",
          R"([{"name":"http","protocol":"UDP","port":53}])");
  apply();
  v.slice("dns", R"([{"addresses":["10.244.1.9"]}])", R"([{"name":"http","protocol":"UDP","port":53}])");
  apply();
  v.slice("web", "[]", kPorts);
  apply();
  v.services.remove("default", "web", ++v.revision);
  v.services.remove("default", "dns", ++v.revision);
  apply();
  EXPECT_TRUE(nft.remove().ok());
  EXPECT_EQ(purge_stale_udp({}, {}), 0u);
}

TEST_F(InKernel, RandomChangesAreAlwaysAccepted) {
  Nft nft({});
  std::mt19937 random(11);
  View v;
  for (int step = 0; step < 200; ++step) {
    std::string name = "s" + std::to_string(random() % 8);
    if (random() % 4 == 0) {
      v.services.remove("default", name, ++v.revision);
    } else {
      v.service(
          name,
          fmt::format(
              R"({{"type":"NodePort","externalIPs":["192.0.2.{}"],"clusterIP":"10.96.0.{}","sessionAffinity":"{}","externalTrafficPolicy":"{}",
          "ports":[{{"name":"http","port":80,"nodePort":{}}}]}})",
              name[1] - '0', 10 + name[1], random() % 2 ? "ClientIP" : "None", random() % 2 ? "Local" : "Cluster",
              30000 + name[1]));
    }
    std::string endpoints;
    for (size_t n = random() % 4; n > 0; --n) {
      endpoints += fmt::format(R"({}{{"addresses":["10.244.{}.{}"],"nodeName":"n{}"}})", endpoints.empty() ? "" : ",",
                               random() % 2, 2 + random() % 9, 1 + random() % 2);
    }
    v.slice(name, "[" + endpoints + "]", kPorts);
    auto status = nft.apply(build_ruleset(v.frontends(), {}));
    ASSERT_TRUE(status.ok()) << step << ": " << status.error().message;
  }
}

}  // namespace
}  // namespace gantry::netproxy
