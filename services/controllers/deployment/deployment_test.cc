#include "services/controllers/deployment/deployment.h"

#include <gtest/gtest.h>

#include "services/controllers/framework/testing/harness.h"
#include "services/controllers/replicaset/replicaset.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

std::string deployment(int replicas, std::string_view spec = "") {
  return fmt::format(
      R"({{"apiVersion":"apps/v1","kind":"Deployment","metadata":{{"name":"web","namespace":"d","annotations":{{"team":"blue","kubectl.kubernetes.io/last-applied-configuration":"x"}}}},
    "spec":{{"replicas":{},{}"selector":{{"matchLabels":{{"app":"web"}}}},
      "template":{{"metadata":{{"labels":{{"app":"web"}}}},"spec":{{"containers":[{{"name":"c","image":"demo:1"}}]}}}}}}}})",
      replicas, spec);
}

struct DeploymentTest : ::testing::Test {
  void SetUp() override {
    h.start(std::make_unique<DeploymentController>());
    h.start(std::make_unique<ReplicaSetController>());
  }
  json get() { return *h.cluster.get("deployments", "d/web"); }
  json condition(const char* type) {
    json deployment = get();
    for (const json& c : deployment["status"]["conditions"]) {
      if (c["type"] == type) return c;
    }
    return json::object();
  }
  void image(const char* name) {
    h.cluster.edit(
        "deployments", "d/web",
        fmt::format(R"({{"spec":{{"template":{{"spec":{{"containers":[{{"name":"c","image":"{}"}}]}}}}}}}})", name));
  }
  /// Lets pods become ready, step by step, while `holds` is checked.
  void roll(const std::function<void()>& holds = [] {}) {
    for (int i = 0; i < 40; ++i) {
      h.pass(500ms);
      holds();
      h.ready_pods();
    }
    h.pass(1s);
  }
  int32_t pods(bool ready_only) {
    int32_t n = 0;
    for (const json& pod : h.cluster.all("pods")) {
      bool ready = pod.contains("status") && pod["status"].contains("conditions");
      n += !pod["metadata"].contains("deletionTimestamp") && (ready || !ready_only);
    }
    return n;
  }
  testing::Harness h;
};

TEST_F(DeploymentTest, MakesAReplicaSetAndReportsAsKubectlExpects) {
  h.cluster.add(deployment(3));
  h.run();
  ASSERT_EQ(h.cluster.count("replicasets"), 1u);
  json rs = h.cluster.all("replicasets")[0];
  std::string hash = rs["metadata"]["labels"]["pod-template-hash"];
  EXPECT_EQ(rs["metadata"]["name"], "web-" + hash);
  EXPECT_EQ(rs["spec"]["selector"]["matchLabels"]["pod-template-hash"], hash);
  EXPECT_EQ(rs["spec"]["template"]["metadata"]["labels"]["pod-template-hash"], hash);
  json annotations = {{"team", "blue"},
                      {"deployment.kubernetes.io/revision", "1"},
                      {"deployment.kubernetes.io/desired-replicas", "3"},
                      {"deployment.kubernetes.io/max-replicas", "4"}};
  EXPECT_EQ(rs["metadata"]["annotations"], annotations);
  EXPECT_EQ(get()["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "1");
  EXPECT_EQ(condition("Available")["reason"], "MinimumReplicasUnavailable");
  EXPECT_EQ(condition("Progressing")["status"], "True");
  EXPECT_EQ(get()["status"]["unavailableReplicas"], 3);

  roll();
  json status = get()["status"];
  for (const char* count : {"replicas", "updatedReplicas", "readyReplicas", "availableReplicas"})
    EXPECT_EQ(status[count], 3) << count;
  EXPECT_FALSE(status.contains("unavailableReplicas"));
  EXPECT_EQ(status["observedGeneration"], get()["metadata"]["generation"]);
  EXPECT_EQ(condition("Available")["reason"], "MinimumReplicasAvailable");
  EXPECT_EQ(condition("Progressing")["reason"], "NewReplicaSetAvailable");
  EXPECT_EQ(condition("Progressing")["message"],
            fmt::format("ReplicaSet \"web-{}\" has successfully progressed.", hash));
}

TEST_F(DeploymentTest, ARollingUpdateKeepsItsBounds) {
  h.cluster.add(deployment(10));
  h.run();
  roll();
  image("demo:2");
  roll([&] {
    EXPECT_LE(pods(false), 13);
    EXPECT_GE(pods(true), 8);
  });
  ASSERT_EQ(h.cluster.count("replicasets"), 2u);
  for (const json& rs : h.cluster.all("replicasets")) {
    bool is_new = rs["spec"]["template"]["spec"]["containers"][0]["image"] == "demo:2";
    EXPECT_EQ(rs["spec"]["replicas"], is_new ? 10 : 0);
    EXPECT_EQ(rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"], is_new ? "2" : "1");
  }
  EXPECT_EQ(get()["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "2");
  EXPECT_EQ(condition("Progressing")["reason"], "NewReplicaSetAvailable");
  EXPECT_EQ(get()["status"]["updatedReplicas"], 10);
}

TEST_F(DeploymentTest, GoingBackTakesTheOldReplicaSetWithANewRevision) {
  h.cluster.add(deployment(2));
  h.run();
  roll();
  image("demo:2");
  roll();
  image("demo:1");
  roll();
  ASSERT_EQ(h.cluster.count("replicasets"), 2u);
  for (const json& rs : h.cluster.all("replicasets")) {
    if (rs["spec"]["replicas"] != 2) continue;
    EXPECT_EQ(rs["spec"]["template"]["spec"]["containers"][0]["image"], "demo:1");
    EXPECT_EQ(rs["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
    EXPECT_EQ(rs["metadata"]["annotations"]["deployment.kubernetes.io/revision-history"], "1");
  }
  EXPECT_EQ(get()["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "3");
}

TEST_F(DeploymentTest, RecreateStopsAllBeforeItStartsAny) {
  h.cluster.add(deployment(3, R"("strategy":{"type":"Recreate"},)"));
  h.run();
  roll();
  for (const std::string& key : h.cluster.keys("pods")) h.cluster.edit("pods", key, R"({"spec":{"nodeName":"n1"}})");
  image("demo:2");
  h.pass(5s);  // the old ones are being deleted on their node
  EXPECT_EQ(h.cluster.count("replicasets"), 1u);
  EXPECT_EQ(h.cluster.count("pods"), 3u);
  roll();
  EXPECT_EQ(h.cluster.count("replicasets"), 2u);
  EXPECT_EQ(get()["status"]["availableReplicas"], 3);
}

TEST_F(DeploymentTest, ScalesAndPauses) {
  h.cluster.add(deployment(2));
  h.run();
  roll();
  h.cluster.edit("deployments", "d/web", R"({"spec":{"paused":true}})");
  image("demo:2");
  h.cluster.edit("deployments", "d/web", R"({"spec":{"replicas":5}})");
  roll();
  EXPECT_EQ(h.cluster.count("replicasets"), 1u);
  EXPECT_EQ(h.cluster.all("replicasets")[0]["spec"]["replicas"], 5);
  EXPECT_EQ(condition("Progressing")["reason"], "DeploymentPaused");
  h.cluster.edit("deployments", "d/web", R"({"spec":{"paused":false}})");
  roll();
  EXPECT_EQ(h.cluster.count("replicasets"), 2u);
  EXPECT_EQ(get()["status"]["updatedReplicas"], 5);
}

TEST_F(DeploymentTest, RecreateEndsWhatAnUnfinishedRolloutLeftThoughItIsScaled) {
  h.cluster.add(deployment(4));
  h.run();
  roll();
  image("demo:2");
  h.pass(1s);  // none of the new pods is ready: both ReplicaSets have some
  h.cluster.edit(
      "deployments", "d/web",
      R"({"spec":{"replicas":6,"strategy":{"type":"Recreate","rollingUpdate":null},"template":{"spec":{"containers":[{"name":"c","image":"demo:3"}]}}}})");
  roll();
  EXPECT_EQ(get()["status"]["updatedReplicas"], 6);
  EXPECT_EQ(pods(true), 6);
}

TEST_F(DeploymentTest, AStuckRolloutExceedsItsDeadline) {
  h.cluster.add(deployment(2, R"("progressDeadlineSeconds":60,)"));
  h.run();
  h.pass(50s);
  EXPECT_EQ(condition("Progressing")["status"], "True");
  h.pass(20s);
  EXPECT_EQ(condition("Progressing")["status"], "False");
  EXPECT_EQ(condition("Progressing")["reason"], "ProgressDeadlineExceeded");
  roll();
  EXPECT_EQ(condition("Progressing")["reason"], "NewReplicaSetAvailable");
  image("demo:2");  // a later rollout that gets stuck is noticed too
  h.pass(70s);
  EXPECT_EQ(condition("Progressing")["reason"], "ProgressDeadlineExceeded");
}

TEST_F(DeploymentTest, HistoryIsLimited) {
  h.cluster.add(deployment(1, R"("revisionHistoryLimit":1,)"));
  h.run();
  for (int i = 2; i < 6; ++i) {
    roll();
    image(fmt::format("demo:{}", i).c_str());
  }
  roll();
  EXPECT_EQ(h.cluster.count("replicasets"), 2u);
  EXPECT_EQ(get()["metadata"]["annotations"]["deployment.kubernetes.io/revision"], "5");
}

TEST_F(DeploymentTest, ACollidingNameGetsAnotherHash) {
  h.cluster.add(deployment(1));
  h.run();
  std::string name = h.cluster.all("replicasets")[0]["metadata"]["name"];
  testing::Harness other;
  other.start(std::make_unique<DeploymentController>());
  other.cluster.add(fmt::format(
      R"({{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{{"name":"{}","namespace":"d","labels":{{"app":"else"}}}},
    "spec":{{"replicas":0,"selector":{{"matchLabels":{{"app":"else"}}}},"template":{{"metadata":{{"labels":{{"app":"else"}}}}}}}}}})",
      name));
  other.cluster.add(deployment(1));
  other.run();
  EXPECT_EQ(other.cluster.count("replicasets"), 2u);
  EXPECT_EQ((*other.cluster.get("deployments", "d/web"))["status"]["collisionCount"], 1);
}

TEST_F(DeploymentTest, AdoptsAMatchingReplicaSet) {
  h.cluster.add(deployment(2));
  h.run();
  roll();
  std::string key = h.cluster.keys("replicasets")[0];
  h.cluster.edit("replicasets", key, R"({"metadata":{"ownerReferences":null}})");
  h.pass(1s);
  EXPECT_EQ(h.cluster.count("replicasets"), 1u);
  EXPECT_EQ((*h.cluster.get("replicasets", key))["metadata"]["ownerReferences"][0]["name"], "web");
  EXPECT_EQ(get()["status"]["updatedReplicas"], 2);
}

TEST_F(DeploymentTest, SettlesAndThenWritesNothing) {
  h.cluster.add(deployment(3));
  h.run();
  roll();
  size_t before = h.cluster.log.size();
  h.pass(1h);
  EXPECT_EQ(h.cluster.log.size(), before);
}

}  // namespace
}  // namespace gantry::controllers
