#include "services/controllers/replicaset/replicaset.h"

#include <gtest/gtest.h>

#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

std::string replica_set(int replicas, std::string_view extra = "") {
  return fmt::format(R"({{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{{"name":"web","namespace":"d"}},
    "spec":{{"replicas":{},{}"selector":{{"matchLabels":{{"app":"web"}}}},
      "template":{{"metadata":{{"labels":{{"app":"web","x":"y"}},"annotations":{{"k":"v"}}}},
                  "spec":{{"containers":[{{"name":"c","image":"demo:1"}}]}}}}}}}})",
                     replicas, extra);
}

struct ReplicaSetTest : ::testing::Test {
  void SetUp() override { h.start(std::make_unique<ReplicaSetController>()); }
  json status() { return h.cluster.get("replicasets", "d/web")->value("status", json::object()); }
  size_t active() {
    size_t n = 0;
    for (const json& pod : h.cluster.all("pods")) n += !pod["metadata"].contains("deletionTimestamp");
    return n;
  }
  testing::Harness h;
};

TEST_F(ReplicaSetTest, CreatesWhatIsMissingFromTheTemplate) {
  h.cluster.add(replica_set(3));
  h.run();
  ASSERT_EQ(h.cluster.count("pods"), 3u);
  json pod = h.cluster.all("pods")[0];
  EXPECT_TRUE(pod["metadata"]["name"].get<std::string>().starts_with("web-"));
  EXPECT_EQ(pod["metadata"]["labels"], (json{{"app", "web"}, {"x", "y"}}));
  EXPECT_EQ(pod["metadata"]["annotations"], (json{{"k", "v"}}));
  EXPECT_EQ(pod["spec"]["containers"][0]["image"], "demo:1");
  json owner = pod["metadata"]["ownerReferences"][0];
  EXPECT_EQ(owner["kind"], "ReplicaSet");
  EXPECT_EQ(owner["controller"], true);
  EXPECT_EQ(owner["uid"], (*h.cluster.get("replicasets", "d/web"))["metadata"]["uid"]);
  EXPECT_EQ(status()["replicas"], 3);
  EXPECT_EQ(status()["fullyLabeledReplicas"], 3);
  EXPECT_EQ(status()["observedGeneration"], 1);
  EXPECT_FALSE(status().contains("readyReplicas"));
}

TEST_F(ReplicaSetTest, CountsReadyAndAvailableWithMinReadySeconds) {
  h.cluster.add(replica_set(2, R"("minReadySeconds":10,)"));
  h.run();
  h.ready_pods();
  h.pass(1s);
  EXPECT_EQ(status()["readyReplicas"], 2);
  EXPECT_FALSE(status().contains("availableReplicas"));
  h.pass(10s);  // nothing changes but time
  EXPECT_EQ(status()["availableReplicas"], 2);
}

TEST_F(ReplicaSetTest, ReplacesDeletedAndFailedPods) {
  h.cluster.add(replica_set(2));
  h.run();
  auto keys = h.cluster.keys("pods");
  h.cluster.erase("pods", keys[0]);
  h.cluster.edit("pods", keys[1], R"({"status":{"phase":"Failed"}})");
  h.pass(1s);
  EXPECT_EQ(h.cluster.count("pods"), 3u);  // the failed one stays to be looked at
  EXPECT_EQ(status()["replicas"], 2);
}

TEST_F(ReplicaSetTest, APodBeingDeletedIsReplacedAtOnce) {
  h.cluster.add(replica_set(1));
  h.run();
  h.cluster.edit(
      "pods", h.cluster.keys("pods")[0],
      fmt::format(R"({{"metadata":{{"deletionTimestamp":"{}","deletionGracePeriodSeconds":30}}}})", h.now()));
  h.pass(1s);
  EXPECT_EQ(active(), 1u);
  EXPECT_EQ(h.cluster.count("pods"), 2u);
}

TEST_F(ReplicaSetTest, AdoptsOrphansAndReleasesThoseThatNoLongerMatch) {
  h.cluster.add(
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"orphan","namespace":"d","labels":{"app":"web"}},"spec":{"containers":[]}})");
  h.cluster.add(
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"other","namespace":"e","labels":{"app":"web"}},"spec":{"containers":[]}})");
  h.cluster.add(replica_set(2));
  h.run();
  EXPECT_EQ(h.cluster.count("pods"), 3u);  // one adopted, one made, one of another namespace
  json owners = (*h.cluster.get("pods", "d/orphan"))["metadata"]["ownerReferences"];
  EXPECT_EQ(owners[0]["name"], "web");
  h.cluster.edit("pods", "d/orphan", R"({"metadata":{"labels":{"app":"debug"}}})");
  h.pass(1s);
  EXPECT_FALSE((*h.cluster.get("pods", "d/orphan"))["metadata"].contains("ownerReferences"));
  EXPECT_EQ(h.cluster.count("pods"), 4u);
}

TEST_F(ReplicaSetTest, ScalesDownInKubernetesOrder) {
  h.cluster.add(replica_set(4));
  h.run();
  auto keys = h.cluster.keys("pods");
  auto set = [&](size_t i, std::string_view node, std::string_view phase, bool ready, std::string_view meta = "{}") {
    h.cluster.edit(
        "pods", keys[i],
        fmt::format(
            R"({{"metadata":{},"spec":{{"nodeName":"{}"}},"status":{{"phase":"{}","conditions":[{{"type":"Ready","status":"{}"}}]}}}})",
            meta, node, phase, ready ? "True" : "False"));
  };
  set(0, "n1", "Running", true);
  set(1, "n2", "Running", true, R"({"annotations":{"controller.kubernetes.io/pod-deletion-cost":"-5"}})");
  set(2, "n3", "Running", false);
  set(3, "n4", "Pending", false);
  h.pass(1s);
  size_t left = 4;
  for (size_t gone : {3, 2, 1}) {
    h.cluster.edit("replicasets", "d/web", fmt::format(R"({{"spec":{{"replicas":{}}}}})", --left));
    h.pass(1s);
    EXPECT_TRUE((*h.cluster.get("pods", keys[gone]))["metadata"].contains("deletionTimestamp")) << gone;
    EXPECT_EQ(active(), left);
  }
}

TEST_F(ReplicaSetTest, AfterAFailedCreateOneGoesAhead) {
  bool broken = true;
  size_t tried = 0;
  h.cluster.before = [&](const bus::Command& c) -> std::optional<Error> {
    if (c.resource != "pods" || c.verb != bus::Verb::Create) return std::nullopt;
    ++tried;
    return broken ? std::optional(Error{.code = Code::kForbidden, .message = "exceeded quota"}) : std::nullopt;
  };
  h.cluster.add(replica_set(100));
  h.run(10s);
  EXPECT_LT(tried, 120u);  // the first hundred, then one at a time
  EXPECT_EQ(status()["conditions"][0]["reason"], "FailedCreate");
  EXPECT_EQ(status()["conditions"][0]["message"], "exceeded quota");
  broken = false;
  h.pass(60s);
  EXPECT_EQ(h.cluster.count("pods"), 100u);
  EXPECT_FALSE(status().contains("conditions"));
}

TEST_F(ReplicaSetTest, NothingIsMadeForOneThatIsBeingDeleted) {
  h.cluster.add(replica_set(2));
  h.cluster.edit(
      "replicasets", "d/web",
      fmt::format(R"({{"metadata":{{"deletionTimestamp":"{}","finalizers":["foregroundDeletion"]}}}})", h.now()));
  h.run();
  EXPECT_EQ(h.cluster.count("pods"), 0u);
}

TEST(ReplicationController, IsAReplicaSetWithAPlainSelector) {
  testing::Harness h;
  h.start(std::make_unique<ReplicaSetController>(ReplicaSetController::Of::kReplicationController));
  h.cluster.add(R"({"apiVersion":"v1","kind":"ReplicationController","metadata":{"name":"old","namespace":"d"},
    "spec":{"replicas":2,"selector":{"app":"old"},
      "template":{"metadata":{"labels":{"app":"old"}},"spec":{"containers":[{"name":"c","image":"demo:1"}]}}}})");
  h.cluster.add(
      R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"orphan","namespace":"d","labels":{"app":"old"}},"spec":{"containers":[]}})");
  h.run();
  ASSERT_EQ(h.cluster.count("pods"), 2u);
  h.ready_pods();
  h.pass(1s);
  json status = (*h.cluster.get("replicationcontrollers", "d/old"))["status"];
  EXPECT_EQ(status["replicas"], 2);
  EXPECT_EQ(status["readyReplicas"], 2);
  EXPECT_EQ(status["fullyLabeledReplicas"], 2);
  EXPECT_EQ((*h.cluster.get("pods", "d/orphan"))["metadata"]["ownerReferences"][0]["kind"], "ReplicationController");
  h.cluster.edit("replicationcontrollers", "d/old", R"({"spec":{"replicas":0}})");
  h.pass(1s);
  EXPECT_EQ(h.cluster.count("pods"), 0u);
}

TEST_F(ReplicaSetTest, ManyPodsInBurstsAndNoneTwice) {
  h.cluster.lose_answer = [n = 0](const bus::Command&) mutable { return ++n % 7 == 0; };
  h.cluster.add(replica_set(1200));
  h.run(60s);
  EXPECT_EQ(h.cluster.count("pods"), 1200u);
  EXPECT_EQ(status()["replicas"], 1200);
}

}  // namespace
}  // namespace gantry::controllers
