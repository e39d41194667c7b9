#include "services/controllers/podcidr/podcidr.h"

#include <gtest/gtest.h>

#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;

std::string node(int i, std::string_view spec = "{}") {
  return fmt::format(R"({{"apiVersion":"v1","kind":"Node","metadata":{{"name":"n{:03}"}},"spec":{}}})", i, spec);
}

TEST(PodCidrController, Parses) {
  EXPECT_FALSE(PodCidrController::parse("10.244.0.0").ok());
  EXPECT_FALSE(PodCidrController::parse("10.244.0.0/25").ok());
  EXPECT_FALSE(PodCidrController::parse("fd00::/64").ok());
  auto network = PodCidrController::parse("10.244.7.7/16");
  ASSERT_TRUE(network.ok());
  EXPECT_EQ(network->parts(), 256u);
  EXPECT_EQ(network->part(255), "10.244.255.0/24");
  EXPECT_EQ(network->parts_of("10.244.3.0/24"), (std::pair<size_t, size_t>{3, 3}));
  EXPECT_EQ(network->parts_of("10.244.4.0/23"), (std::pair<size_t, size_t>{4, 5}));
  EXPECT_EQ(network->parts_of("10.1.0.0/24"), std::nullopt);
}

TEST(PodCidrController, NoTwoNodesOverlapAndLeaversGiveBack) {
  testing::Harness h;
  h.start(std::make_unique<PodCidrController>(*PodCidrController::parse("10.244.0.0/20")));  // room for 16
  h.cluster.add(node(100, R"({"podCIDR":"10.244.1.0/24"})"));
  for (int i = 0; i < 10; ++i) h.cluster.add(node(i));
  h.run();
  h.cluster.hold_events = true;
  h.cluster.add(node(10));
  h.cluster.release_events();
  for (int i = 11; i < 20; ++i) {
    h.cluster.add(node(i));
    if (i % 3 == 0) h.loop.drain();
  }
  h.pass(1s);
  std::set<std::string> given;
  size_t without = 0;
  for (const auto& n : h.cluster.all("nodes")) {
    std::string cidr = n["spec"].is_object() ? n["spec"].value("podCIDR", "") : "";
    if (cidr.empty()) {
      ++without;
    } else {
      EXPECT_TRUE(given.insert(cidr).second) << cidr;
    }
  }
  EXPECT_EQ(given.size(), 16u);
  EXPECT_EQ(without, 5u);
  h.cluster.erase("nodes", "n100");
  h.pass(1s);
  size_t n = 0;
  for (const auto& o : h.cluster.all("nodes")) n += o.contains("spec") && o["spec"].contains("podCIDR");
  EXPECT_EQ(n, 16u);
}

}  // namespace
}  // namespace gantry::controllers
