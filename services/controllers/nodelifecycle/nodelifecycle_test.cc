#include "services/controllers/nodelifecycle/nodelifecycle.h"

#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "libs/model/schema.h"
#include "services/controllers/framework/testing/harness.h"
#include "services/controllers/nodelifecycle/taints.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct NodeLifecycleTest : ::testing::Test {
  void SetUp() override {
    h.start(std::make_unique<NodeLifecycleController>(health));
    health.on_return([this](const std::string& node) { h.runner().enqueue(node); });
  }
  void nodes(int n) {
    for (int i = 0; i < n; ++i) {
      names.push_back(fmt::format("n{}", i));
      h.cluster.add(fmt::format(
          R"({{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{}"}},"status":{{"conditions":[{{"type":"Ready","status":"True"}},{{"type":"DiskPressure","status":"False"}}]}}}})",
          names.back()));
    }
  }
  void pod(std::string_view name, std::string_view node, std::string_view tolerations) {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"{}","namespace":"d"}},"spec":{{"nodeName":"{}","tolerations":{},"containers":[]}},
      "status":{{"phase":"Running","conditions":[{{"type":"Ready","status":"True"}}]}}}})",
        name, node, tolerations));
  }
  static std::string tolerate(int seconds) {
    return fmt::format(
        R"([{{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":{}}}])",
        seconds);
  }
  /// Time passes and every node but `silent` beats each second.
  void live(int seconds, std::set<std::string> silent = {}) {
    for (int i = 0; i < seconds; ++i) {
      ++sequence;
      for (const std::string& name : names) {
        if (!silent.contains(name)) health.heard(name, 1, sequence, true, "");
      }
      h.pass(1s);
    }
  }
  json condition(std::string_view node, std::string_view type) {
    json object = *h.cluster.get("nodes", node);
    for (const json& c : object["status"]["conditions"]) {
      if (c["type"] == type) return c;
    }
    return json::object();
  }
  std::set<std::string> taints(std::string_view node) {
    std::set<std::string> found;
    json object = *h.cluster.get("nodes", node);
    if (!object.contains("spec") || !object["spec"].contains("taints")) return found;
    for (const json& t : object["spec"]["taints"])
      found.insert(t["key"].get<std::string>() + ":" + t["effect"].get<std::string>());
    return found;
  }
  bool leaving(std::string_view pod) {
    return (*h.cluster.get("pods", fmt::format("d/{}", pod)))["metadata"].contains("deletionTimestamp");
  }
  size_t evicted() {
    size_t n = 0;
    for (const json& p : h.cluster.all("pods")) n += p["metadata"].contains("deletionTimestamp");
    return n;
  }

  testing::Harness h;
  NodeHealth health{h.loop, 40s};
  std::vector<std::string> names;
  uint64_t sequence = 0;
  const std::set<std::string> kUnreachableTaints = {"node.kubernetes.io/unreachable:NoExecute",
                                                    "node.kubernetes.io/unreachable:NoSchedule"};
};

TEST_F(NodeLifecycleTest, ASilentNodeBecomesUnknownAndLosesItsPodsInTime) {
  nodes(3);
  pod("short", "n0", tolerate(10));
  pod("long", "n0", tolerate(300));
  pod("ever", "n0", R"([{"operator":"Exists"}])");
  pod("other", "n1", tolerate(10));
  h.run();
  live(60);
  EXPECT_TRUE(taints("n0").empty());
  EXPECT_EQ(h.cluster.log.size(), 0u);

  live(39, {"n0"});
  EXPECT_EQ(condition("n0", "Ready")["status"], "True");
  live(3, {"n0"});
  EXPECT_EQ(condition("n0", "Ready")["status"], "Unknown");
  EXPECT_EQ(condition("n0", "Ready")["reason"], "NodeStatusUnknown");
  EXPECT_EQ(condition("n0", "DiskPressure")["status"], "Unknown");
  EXPECT_EQ(condition("n0", "MemoryPressure")["reason"], "NodeStatusNeverUpdated");
  EXPECT_EQ(taints("n0"), kUnreachableTaints);
  json pod_object = *h.cluster.get("pods", "d/long");
  EXPECT_EQ(pod_object["status"]["conditions"][0]["status"], "False");
  EXPECT_FALSE(leaving("short"));
  live(12, {"n0"});
  EXPECT_TRUE(leaving("short"));
  EXPECT_FALSE(leaving("long"));
  live(300, {"n0"});
  EXPECT_TRUE(leaving("long"));
  EXPECT_FALSE(leaving("ever"));
  EXPECT_FALSE(leaving("other"));
  EXPECT_TRUE(taints("n1").empty());
}

TEST_F(NodeLifecycleTest, AReturningNodeIsTakenBackAtOnce) {
  nodes(3);
  pod("p", "n0", tolerate(60));
  h.run();
  live(45);
  live(50, {"n0"});
  ASSERT_EQ(taints("n0"), kUnreachableTaints);
  live(2);
  EXPECT_EQ(condition("n0", "Ready")["status"], "True");
  EXPECT_EQ(condition("n0", "DiskPressure")["status"], "False");
  EXPECT_TRUE(taints("n0").empty());
  live(300);
  EXPECT_FALSE(leaving("p"));
}

TEST_F(NodeLifecycleTest, MostNodesAtOnceIsNotTheirFault) {
  nodes(5);
  for (int i = 0; i < 5; ++i) pod(fmt::format("p{}", i), fmt::format("n{}", i), "[]");
  h.run();
  live(45);
  live(200, {"n0", "n1", "n2"});
  EXPECT_EQ(evicted(), 0u);
  EXPECT_EQ(taints("n0"), (std::set<std::string>{"node.kubernetes.io/unreachable:NoSchedule"}));
  live(10, {"n0"});  // two came back: one missing is its own fault
  EXPECT_TRUE(leaving("p0"));
  EXPECT_EQ(evicted(), 1u);
}

TEST_F(NodeLifecycleTest, TwoOfThreeSilentAreTheirOwnFaultAndAllAreNot) {
  nodes(3);
  for (int i = 0; i < 3; ++i) pod(fmt::format("p{}", i), fmt::format("n{}", i), "[]");
  h.run();
  live(45);
  live(60, {"n0", "n1", "n2"});
  EXPECT_EQ(evicted(), 0u);
  live(10, {"n0", "n1"});
  EXPECT_TRUE(leaving("p0") && leaving("p1"));
  EXPECT_EQ(evicted(), 2u);
}

TEST_F(NodeLifecycleTest, ADeafControllerEvictsNothing) {
  nodes(3);
  pod("p", "n0", "[]");
  h.run();
  live(45);
  health.connected(false);
  h.pass(10min);
  EXPECT_EQ(h.cluster.log.size(), 0u);
  health.connected(true);
  h.pass(30s);  // not a whole grace yet
  EXPECT_EQ(h.cluster.log.size(), 0u);
  live(60);
  EXPECT_EQ(h.cluster.log.size(), 0u);
  live(60, {"n0"});
  EXPECT_TRUE(leaving("p"));
}

TEST_F(NodeLifecycleTest, ANewLeaderListensForAWholeGraceFirst) {
  nodes(4);
  pod("p", "n0", tolerate(5));
  h.run();
  live(45);
  live(43, {"n0"});
  ASSERT_EQ(taints("n0"), kUnreachableTaints);
  h.runner().lead("controllers-nodelifecycle", 2);
  live(35, {"n0"});
  EXPECT_FALSE(leaving("p"));
  EXPECT_EQ(taints("n0"), kUnreachableTaints);
  live(10, {"n0"});
  EXPECT_TRUE(leaving("p"));
}

TEST_F(NodeLifecycleTest, OtherPeoplesTaintsCountAlways) {
  nodes(3);
  pod("p", "n0", "[]");
  pod("q", "n0", R"([{"key":"maintenance","operator":"Exists","tolerationSeconds":20}])");
  h.run();
  h.cluster.edit("nodes", "n0", R"({"spec":{"taints":[{"key":"maintenance","effect":"NoExecute"}]}})");
  live(2);
  EXPECT_TRUE(leaving("p"));
  EXPECT_FALSE(leaving("q"));
  live(22);
  EXPECT_TRUE(leaving("q"));
}

TEST_F(NodeLifecycleTest, CordonsAndPressureBecomeTaints) {
  nodes(1);
  h.run();
  h.cluster.edit(
      "nodes", "n0",
      R"({"spec":{"unschedulable":true},"status":{"conditions":[{"type":"Ready","status":"False"},{"type":"MemoryPressure","status":"True"}]}})");
  live(2);
  EXPECT_EQ(taints("n0"),
            (std::set<std::string>{
                "node.kubernetes.io/unschedulable:NoSchedule", "node.kubernetes.io/memory-pressure:NoSchedule",
                "node.kubernetes.io/not-ready:NoSchedule", "node.kubernetes.io/not-ready:NoExecute"}));
}

}  // namespace
}  // namespace gantry::controllers
