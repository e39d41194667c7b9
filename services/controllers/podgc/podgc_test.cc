#include "services/controllers/podgc/podgc.h"

#include <gtest/gtest.h>

#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;

struct PodGcTest : ::testing::Test {
  void SetUp() override { h.start(std::make_unique<PodGcController>()); }
  void pod(std::string_view name, std::string_view node, std::string_view meta = "") {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{}","namespace":"d"{}}},"spec":{{"nodeName":"{}","containers":[]}}}})",
        name, meta, node));
  }
  void node(std::string_view name) {
    h.cluster.add(fmt::format(R"({{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{}"}}}})", name));
  }
  testing::Harness h;
};

TEST_F(PodGcTest, PodsOfADeletedNodeGo) {
  node("n1");
  node("n2");
  pod("a", "n1");
  pod("b", "n1");
  pod("c", "n2");
  h.run();
  EXPECT_EQ(h.cluster.count("pods"), 3u);
  h.cluster.erase("nodes", "n1");
  h.pass(5s);
  EXPECT_EQ(h.cluster.keys("pods"), (std::vector<std::string>{"d/c"}));
}

TEST_F(PodGcTest, ANodeThatOnlyTheViewMissesKeepsItsPods) {
  h.run();
  h.cluster.hold_events = true;
  node("new");
  h.cluster.release_events();
  // The view has lost sight of the node, apigw has not.
  h.view.need("nodes").remove("", "new", h.cluster.head("nodes"));
  pod("a", "new");
  h.pass(30s);
  EXPECT_EQ(h.cluster.count("pods"), 1u);
}

TEST_F(PodGcTest, PodsDeletedBeforeTheyHadANodeGo) {
  h.cluster.add(
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"d","deletionTimestamp":"2024-01-01T00:00:00Z","deletionGracePeriodSeconds":30},"spec":{"containers":[]}})");
  h.run(5s);
  EXPECT_EQ(h.cluster.count("pods"), 0u);
}

}  // namespace
}  // namespace gantry::controllers
