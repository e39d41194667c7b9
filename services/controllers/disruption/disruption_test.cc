#include "services/controllers/disruption/disruption.h"

#include <gtest/gtest.h>

#include "services/controllers/framework/testing/harness.h"
#include "services/controllers/replicaset/replicaset.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct DisruptionTest : ::testing::Test {
  void SetUp() override {
    h.start(std::make_unique<DisruptionController>());
    h.start(std::make_unique<ReplicaSetController>());
  }
  void replicas(int n) {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{{"name":"web","namespace":"d"}},
          "spec":{{"replicas":{},"selector":{{"matchLabels":{{"app":"web"}}}},
            "template":{{"metadata":{{"labels":{{"app":"web"}}}},"spec":{{"nodeName":"n","containers":[]}}}}}}}})",
        n));
  }
  void budget(std::string_view spec) {
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"policy/v1","kind":"PodDisruptionBudget","metadata":{{"name":"b","namespace":"d"}},
          "spec":{{{},"selector":{{"matchLabels":{{"app":"web"}}}}}}}})",
        spec));
  }
  json status() { return h.cluster.get("poddisruptionbudgets", "d/b")->value("status", json::object()); }
  void run() {
    h.run(1s);
    h.ready_pods();
    h.pass(1s);
  }
  testing::Harness h;
};

TEST_F(DisruptionTest, MinAvailableAsANumber) {
  replicas(3);
  budget(R"("minAvailable":2)");
  h.run(1s);
  EXPECT_EQ(status()["disruptionsAllowed"], 0);
  EXPECT_EQ(status()["conditions"][0]["reason"], "InsufficientPods");
  h.ready_pods();
  h.pass(1s);
  EXPECT_EQ(status()["disruptionsAllowed"], 1);
  EXPECT_EQ(status()["currentHealthy"], 3);
  EXPECT_EQ(status()["desiredHealthy"], 2);
  EXPECT_EQ(status()["expectedPods"], 3);
  EXPECT_EQ(status()["observedGeneration"], 1);
  EXPECT_EQ(status()["conditions"][0]["status"], "True");
  EXPECT_EQ(status()["conditions"][0]["reason"], "SufficientPods");
}

TEST_F(DisruptionTest, SharesAreOfWhatTheOwnersDeclare) {
  replicas(5);
  budget(R"("maxUnavailable":"30%")");
  run();
  EXPECT_EQ(status()["expectedPods"], 5);
  EXPECT_EQ(status()["desiredHealthy"], 3);
  EXPECT_EQ(status()["disruptionsAllowed"], 2);
  h.cluster.edit("replicasets", "d/web", R"({"spec":{"replicas":10}})");
  h.pass(1s);
  EXPECT_EQ(status()["expectedPods"], 10);
  EXPECT_EQ(status()["disruptionsAllowed"], 0);  // the new ones are not ready
  h.cluster.edit("poddisruptionbudgets", "d/b", R"({"spec":{"maxUnavailable":null,"minAvailable":"50%"}})");
  h.pass(1s);
  EXPECT_EQ(status()["desiredHealthy"], 5);
}

TEST_F(DisruptionTest, AGrantedEvictionCountsUntilItIsDoneOrOverdue) {
  replicas(3);
  budget(R"("maxUnavailable":1)");
  run();
  std::string pod = h.cluster.keys("pods")[0].substr(2);
  h.cluster.edit("poddisruptionbudgets", "d/b",
                 fmt::format(R"({{"status":{{"disruptionsAllowed":0,"disruptedPods":{{"{}":"{}"}}}}}})", pod, h.now()));
  h.pass(100s);
  EXPECT_EQ(status()["disruptionsAllowed"], 0);
  EXPECT_EQ(status()["currentHealthy"], 2);
  h.pass(30s);  // it never went
  EXPECT_EQ(status()["disruptionsAllowed"], 1);
  EXPECT_FALSE(status().contains("disruptedPods"));
}

TEST_F(DisruptionTest, WhatCannotBeScaledAllowsNothing) {
  h.cluster.add(
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"d","labels":{"app":"web"},
          "ownerReferences":[{"apiVersion":"batch/v1","kind":"Job","name":"j","uid":"u","controller":true}]},"spec":{"containers":[]}})");
  budget(R"("maxUnavailable":1)");
  run();
  EXPECT_EQ(status()["disruptionsAllowed"], 0);
  EXPECT_EQ(status()["conditions"][0]["reason"], "SyncFailed");
  size_t before = h.cluster.log.size();
  h.pass(60s);
  EXPECT_EQ(h.cluster.log.size(), before);
}

}  // namespace
}  // namespace gantry::controllers
