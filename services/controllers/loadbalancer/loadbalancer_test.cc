#include "services/controllers/loadbalancer/loadbalancer.h"

#include <gtest/gtest.h>

#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct LoadBalancerTest : ::testing::Test {
  void SetUp() override { h.start(std::make_unique<LoadBalancerController>(*AddressRange::parse("172.30.1.0/30"))); }
  void service(std::string_view name, std::string_view more = "") {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"Service","metadata":{{"name":"{}","namespace":"d"}},"spec":{{"type":"LoadBalancer"{},"ports":[{{"port":80}}]}}}})",
        name, more));
  }
  std::string address(std::string_view name) {
    json service = *h.cluster.get("services", fmt::format("d/{}", name));
    json ingress = service.value("/status/loadBalancer/ingress"_json_pointer, json::array());
    return ingress.empty() ? "" : ingress[0]["ip"].get<std::string>();
  }
  testing::Harness h;
};

TEST_F(LoadBalancerTest, EachServiceHasAnAddressOfItsOwn) {
  service("a");
  service("b");
  service("c");
  service("other", R"(,"loadBalancerClass":"x.org/y")");
  h.run();
  EXPECT_EQ(address("a"), "172.30.1.1");
  EXPECT_EQ(address("b"), "172.30.1.2");
  EXPECT_EQ(address("c"), "") << "the range has two";
  EXPECT_EQ(address("other"), "");
  h.cluster.erase("services", "d/a");
  h.pass(1s);
  EXPECT_EQ(address("c"), "172.30.1.1");
  h.cluster.edit("services", "d/b", R"({"spec":{"type":"ClusterIP"}})");
  h.pass(1s);
  EXPECT_EQ(address("b"), "");
  size_t log = h.cluster.log.size();
  h.pass(1min);
  EXPECT_EQ(h.cluster.log.size(), log);
}

TEST_F(LoadBalancerTest, AWishIsHeard) {
  service("b", R"(,"loadBalancerIP":"172.30.1.2")");
  service("c", R"(,"loadBalancerIP":"172.30.1.2")");
  service("far", R"(,"loadBalancerIP":"8.8.8.8")");
  h.run();
  EXPECT_EQ(address("b"), "172.30.1.2");
  EXPECT_EQ(address("c"), "");
  EXPECT_EQ(address("far"), "");
}

TEST(AddressRange, Networks) {
  EXPECT_EQ(AddressRange::parse("10.1.2.3/32")->at(0), "10.1.2.3");
  EXPECT_EQ(AddressRange::parse("10.1.2.0/24")->size, 254u);
  for (const char* bad : {"", "10.0.0.0", "10.0.0.0/8", "x/24", "fd00::/64"})
    EXPECT_FALSE(AddressRange::parse(bad).ok());
}

}  // namespace
}  // namespace gantry::controllers
