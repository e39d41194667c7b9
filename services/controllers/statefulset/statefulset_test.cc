#include "services/controllers/statefulset/statefulset.h"

#include <gtest/gtest.h>

#include "services/controllers/framework/testing/dice.h"
#include "services/controllers/framework/testing/harness.h"
#include "services/controllers/statefulset/members.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

std::string stateful_set(int replicas, std::string_view extra = "") {
  return fmt::format(R"({{"apiVersion":"apps/v1","kind":"StatefulSet","metadata":{{"name":"db","namespace":"d"}},
    "spec":{{"replicas":{},{}"serviceName":"db","selector":{{"matchLabels":{{"app":"db"}}}},
      "template":{{"metadata":{{"labels":{{"app":"db"}}}},
                  "spec":{{"nodeName":"n1","containers":[{{"name":"c","image":"demo:1"}}]}}}}}}}})",
                     replicas, extra);
}

constexpr std::string_view kClaims =
    R"("volumeClaimTemplates":[{"metadata":{"name":"data","labels":{"x":"y"}},"spec":{"accessModes":["ReadWriteOnce"]}}],)";

struct StatefulSetTest : ::testing::Test {
  void SetUp() override { h.start(std::make_unique<StatefulSetController>()); }
  json set() { return *h.cluster.get("statefulsets", "d/db"); }
  json status() { return set().value("status", json::object()); }
  void edit(std::string_view spec) { h.cluster.edit("statefulsets", "d/db", fmt::format(R"({{"spec":{}}})", spec)); }
  void image(std::string_view name) {
    edit(fmt::format(R"({{"template":{{"spec":{{"containers":[{{"name":"c","image":"{}"}}]}}}}}})", name));
  }
  std::vector<std::string> pods() { return h.cluster.keys("pods"); }
  json pod(int n) {
    const json* found = h.cluster.get("pods", fmt::format("d/db-{}", n));
    return found == nullptr ? json() : *found;
  }
  std::string image_of(int n) {
    return pod(n).is_null() ? "" : pod(n)["spec"]["containers"][0]["image"].get<std::string>();
  }
  /// As many pods as are there become ready, one look at a time.
  void settle(int rounds = 20) {
    for (int i = 0; i < rounds; ++i) {
      h.pass(1s);
      h.ready_pods();
    }
    h.pass(1s);
  }
  testing::Harness h;
};

TEST_F(StatefulSetTest, OneAfterAnotherEachWithItsName) {
  h.cluster.add(stateful_set(3));
  h.run();
  ASSERT_EQ(pods(), (std::vector<std::string>{"d/db-0"}));
  h.pass(60s);
  EXPECT_EQ(pods().size(), 1u);  // not ready
  h.ready_pods();
  h.pass(1s);
  EXPECT_EQ(pods().size(), 2u);
  settle();
  EXPECT_EQ(pods(), (std::vector<std::string>{"d/db-0", "d/db-1", "d/db-2"}));
  json labels = pod(2)["metadata"]["labels"];
  std::string revision = h.cluster.all("controllerrevisions")[0]["metadata"]["name"];
  EXPECT_EQ(labels, (json{{"app", "db"},
                          {"statefulset.kubernetes.io/pod-name", "db-2"},
                          {"apps.kubernetes.io/pod-index", "2"},
                          {"controller-revision-hash", revision}}));
  EXPECT_EQ(pod(2)["spec"]["hostname"], "db-2");
  EXPECT_EQ(pod(2)["spec"]["subdomain"], "db");
  EXPECT_EQ(status()["readyReplicas"], 3);
  EXPECT_EQ(status()["availableReplicas"], 3);
  EXPECT_EQ(status()["currentReplicas"], 3);
  EXPECT_EQ(status()["updatedReplicas"], 3);
  EXPECT_EQ(status()["currentRevision"], revision);
  EXPECT_EQ(status()["updateRevision"], revision);
  EXPECT_EQ(status()["observedGeneration"], set()["metadata"]["generation"]);
}

TEST_F(StatefulSetTest, ParallelAllAtOnceFromItsStart) {
  h.cluster.add(stateful_set(3, R"("podManagementPolicy":"Parallel","ordinals":{"start":5},)"));
  h.run();
  EXPECT_EQ(pods(), (std::vector<std::string>{"d/db-5", "d/db-6", "d/db-7"}));
  edit(R"({"ordinals":{"start":6}})");
  settle(3);
  EXPECT_EQ(pods(), (std::vector<std::string>{"d/db-6", "d/db-7", "d/db-8"}));
}

TEST_F(StatefulSetTest, ScalesDownFromTheTopAndWaits) {
  h.cluster.add(stateful_set(3));
  h.run();
  settle();
  edit(R"({"replicas":1})");
  h.pass(10s);
  EXPECT_TRUE(pod(2)["metadata"].contains("deletionTimestamp"));
  EXPECT_FALSE(pod(1)["metadata"].contains("deletionTimestamp"));
  h.cluster.erase("pods", "d/db-2");
  h.pass(1s);
  EXPECT_TRUE(pod(1)["metadata"].contains("deletionTimestamp"));
  settle(3);
  EXPECT_EQ(pods(), (std::vector<std::string>{"d/db-0"}));
}

TEST_F(StatefulSetTest, ARollingUpdateGoesFromTheTopAndStopsAtWhatIsNotReady) {
  h.cluster.add(stateful_set(3));
  h.run();
  settle();
  std::string first = status()["currentRevision"];
  image("demo:2");
  h.pass(1s);
  EXPECT_NE(status()["updateRevision"], first);
  EXPECT_TRUE(pod(2)["metadata"].contains("deletionTimestamp"));
  h.cluster.erase("pods", "d/db-2");
  h.pass(60s);
  EXPECT_EQ(image_of(2), "demo:2");
  EXPECT_EQ(image_of(1), "demo:1");  // the new one is not ready
  EXPECT_FALSE(pod(1)["metadata"].contains("deletionTimestamp"));
  EXPECT_EQ(status()["currentRevision"], first);
  settle();
  EXPECT_EQ(image_of(0), "demo:2");
  EXPECT_EQ(status()["currentRevision"], status()["updateRevision"]);
  EXPECT_EQ(status()["updatedReplicas"], 3);
  ASSERT_EQ(h.cluster.count("controllerrevisions"), 2u);
  image("demo:1");  // back: the old revision is the newest again
  settle(30);
  EXPECT_EQ(h.cluster.count("controllerrevisions"), 2u);
  EXPECT_EQ(status()["currentRevision"], first);
  EXPECT_EQ((*h.cluster.get("controllerrevisions", "d/" + first))["revision"], 3);
  EXPECT_EQ(image_of(0), "demo:1");
}

TEST_F(StatefulSetTest, RevisionsHoldWhatKubectlUndoes) {
  h.cluster.add(stateful_set(0));
  h.run();
  json revision = h.cluster.all("controllerrevisions")[0];
  EXPECT_EQ(revision["revision"], 1);
  EXPECT_EQ(revision["data"]["spec"]["template"]["$patch"], "replace");
  EXPECT_EQ(revision["data"]["spec"]["template"]["spec"]["containers"][0]["image"], "demo:1");
  EXPECT_EQ(revision["metadata"]["labels"]["app"], "db");
  EXPECT_EQ(revision["metadata"]["ownerReferences"][0]["kind"], "StatefulSet");
  edit(R"({"revisionHistoryLimit":2})");
  for (int i = 2; i < 8; ++i) {
    image(fmt::format("demo:{}", i));
    h.pass(1s);
  }
  EXPECT_EQ(h.cluster.count("controllerrevisions"), 3u);
}

TEST_F(StatefulSetTest, ThePartitionKeepsTheLowerOnesAsTheyWere) {
  h.cluster.add(stateful_set(3, R"("updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"partition":2}},)"));
  h.run();
  settle();
  image("demo:2");
  settle();
  EXPECT_EQ(image_of(2), "demo:2");
  EXPECT_EQ(image_of(1), "demo:1");
  EXPECT_NE(status()["currentRevision"], status()["updateRevision"]);
  EXPECT_EQ(status()["updatedReplicas"], 1);
  EXPECT_EQ(status()["currentReplicas"], 2);
  h.cluster.erase("pods", "d/db-0");
  settle(3);
  EXPECT_EQ(image_of(0), "demo:1");  // as it was
}

TEST_F(StatefulSetTest, OnDeleteWaitsForTheUser) {
  h.cluster.add(stateful_set(2, R"("updateStrategy":{"type":"OnDelete"},)"));
  h.run();
  settle();
  image("demo:2");
  settle();
  EXPECT_EQ(image_of(1), "demo:1");
  h.cluster.erase("pods", "d/db-0");
  settle();
  EXPECT_EQ(image_of(0), "demo:2");
  EXPECT_EQ(image_of(1), "demo:1");
}

TEST_F(StatefulSetTest, MaxUnavailableRollsSeveral) {
  h.cluster.add(stateful_set(
      4,
      R"("podManagementPolicy":"Parallel","updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":2}},)"));
  h.run();
  settle();
  image("demo:2");
  h.pass(1s);
  EXPECT_TRUE(pod(3)["metadata"].contains("deletionTimestamp"));
  EXPECT_TRUE(pod(2)["metadata"].contains("deletionTimestamp"));
  EXPECT_FALSE(pod(1)["metadata"].contains("deletionTimestamp"));
  settle();
  EXPECT_EQ(image_of(0), "demo:2");
}

TEST_F(StatefulSetTest, FailedPodsAreMadeAnew) {
  h.cluster.add(stateful_set(1));
  h.run();
  settle();
  std::string uid = pod(0)["metadata"]["uid"];
  h.cluster.edit("pods", "d/db-0", R"({"status":{"phase":"Failed","reason":"Evicted"}})");
  h.pass(1s);
  EXPECT_TRUE(pod(0)["metadata"].contains("deletionTimestamp"));
  settle(3);
  EXPECT_NE(pod(0)["metadata"]["uid"], uid);
}

TEST_F(StatefulSetTest, MinReadySecondsHoldsTheNextOneBack) {
  h.cluster.add(stateful_set(2, R"("minReadySeconds":30,)"));
  h.run();
  h.ready_pods();
  h.pass(25s);
  EXPECT_EQ(pods().size(), 1u);
  EXPECT_EQ(status()["readyReplicas"], 1);
  EXPECT_EQ(status().value("availableReplicas", 0), 0);
  h.pass(6s);
  EXPECT_EQ(pods().size(), 2u);
}

TEST_F(StatefulSetTest, EachPodHasItsClaimsAndKeepsThem) {
  h.cluster.add(stateful_set(2, kClaims));
  h.run();
  settle();
  ASSERT_EQ(h.cluster.keys("persistentvolumeclaims"), (std::vector<std::string>{"d/data-db-0", "d/data-db-1"}));
  json claim = *h.cluster.get("persistentvolumeclaims", "d/data-db-1");
  EXPECT_EQ(claim["metadata"]["labels"], (json{{"app", "db"}, {"x", "y"}}));
  EXPECT_FALSE(claim["metadata"].contains("ownerReferences"));
  EXPECT_EQ(claim["spec"]["accessModes"][0], "ReadWriteOnce");
  EXPECT_EQ(pod(1)["spec"]["volumes"][0]["name"], "data");
  EXPECT_EQ(pod(1)["spec"]["volumes"][0]["persistentVolumeClaim"]["claimName"], "data-db-1");
  edit(R"({"replicas":0})");
  settle(5);
  EXPECT_TRUE(pods().empty());
  EXPECT_EQ(h.cluster.count("persistentvolumeclaims"), 2u);
}

TEST_F(StatefulSetTest, ClaimsGetOwnersAsTheRetentionPolicySays) {
  h.cluster.add(
      stateful_set(2, std::string(kClaims) +
                          R"("persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Delete","whenScaled":"Delete"},)"));
  h.run();
  settle();
  auto owners = [&](int n) {
    return h.cluster.get("persistentvolumeclaims", fmt::format("d/data-db-{}", n))
        ->at("metadata")
        .value("ownerReferences", json::array());
  };
  ASSERT_EQ(owners(1).size(), 1u);
  EXPECT_EQ(owners(1)[0]["kind"], "StatefulSet");
  std::string uid = pod(1)["metadata"]["uid"];
  edit(R"({"replicas":1})");
  h.pass(1s);
  ASSERT_EQ(owners(1).size(), 1u);
  EXPECT_EQ(owners(1)[0]["kind"], "Pod");  // goes with it
  EXPECT_EQ(owners(1)[0]["uid"], uid);
  EXPECT_TRUE(pod(1)["metadata"].contains("deletionTimestamp"));
  h.cluster.erase("pods", "d/db-1");
  edit(R"({"replicas":2})");
  h.pass(10s);
  EXPECT_TRUE(pod(1).is_null());  // until the old claim has gone
  h.cluster.erase("persistentvolumeclaims", "d/data-db-1");
  settle(3);
  EXPECT_FALSE(pod(1).is_null());
  edit(R"({"persistentVolumeClaimRetentionPolicy":{"whenDeleted":"Retain","whenScaled":"Retain"}})");
  h.pass(1s);
  EXPECT_TRUE(owners(0).empty());
}

TEST(Ordinals, OnlyTheSetsOwnNames) {
  EXPECT_EQ(ordinal_of("db", "db-12"), 12);
  EXPECT_EQ(ordinal_of("db", "db-0"), 0);
  for (const char* name : {"db-", "db", "db-x", "db-1-2", "dbs-1", "db-01", "db--1"})
    EXPECT_FALSE(ordinal_of("db", name)) << name;
}

// Random scales, rollouts, failures and leaders: never more than one ordered pod down on purpose, no ordinal beyond the
// range once quiet, every pod of the newest revision.
TEST(StatefulSetProperty, ComesToRestAsDeclared) {
  testing::Dice dice(1500);
  SCOPED_TRACE(fmt::format("GANTRY_SEED={}", dice.seed()));
  testing::Harness h;
  h.start(std::make_unique<StatefulSetController>());
  h.cluster.lose_answer = [&](const bus::Command&) { return dice.chance(3); };
  h.cluster.add(stateful_set(3));
  h.run();
  int replicas = 3, version = 1;
  uint64_t epoch = 1;
  std::vector<std::string> mine;
  auto ready = [&](const json& p) {
    return p.contains("status") && p["status"].value("phase", "") == "Running" &&
           !p["metadata"].contains("deletionTimestamp");
  };
  for (int step = 0; step < dice.steps() && !::testing::Test::HasFailure(); ++step) {
    auto keys = h.cluster.keys("pods");
    int what = dice.pick(100);
    if (what < 40) {
      h.ready_pods();
    } else if (what < 50 && !keys.empty()) {
      const std::string key = dice.of(keys);
      if (ready(*h.cluster.get("pods", key)))
        h.cluster.edit("pods", key, R"({"status":{"phase":"Failed","conditions":null}})");
    } else if (what < 55 && !keys.empty()) {
      h.cluster.erase("pods", dice.of(keys));
    } else if (what < 65) {
      replicas = dice.pick(6);
      h.cluster.edit("statefulsets", "d/db", fmt::format(R"({{"spec":{{"replicas":{}}}}})", replicas));
    } else if (what < 75) {
      version = 1 + dice.pick(3);
      h.cluster.edit(
          "statefulsets", "d/db",
          fmt::format(R"({{"spec":{{"template":{{"spec":{{"containers":[{{"name":"c","image":"demo:{}"}}]}}}}}}}})",
                      version));
    } else if (what < 78) {
      h.runner().lead("controllers-statefulset", ++epoch);
    }
    size_t before = h.cluster.log.size();
    h.pass(std::chrono::milliseconds(dice.pick(3000)));
    size_t deleted = 0;
    for (size_t i = before; i < h.cluster.log.size(); ++i)
      deleted += h.cluster.log[i].verb == bus::Verb::Delete && h.cluster.log[i].resource == "pods";
    EXPECT_LE(deleted, 2u);  // nothing was ready to follow: one, and one that had failed
    if (step % 100 != 99) continue;
    for (int i = 0; i < 80; ++i) {
      h.ready_pods();
      h.pass(2s);
    }
    EXPECT_EQ(h.cluster.count("pods"), static_cast<size_t>(replicas));
    for (int n = 0; n < replicas; ++n) {
      const json* p = h.cluster.get("pods", fmt::format("d/db-{}", n));
      ASSERT_NE(p, nullptr) << n;
      EXPECT_EQ((*p)["spec"]["containers"][0]["image"], fmt::format("demo:{}", version));
    }
    json status = (*h.cluster.get("statefulsets", "d/db"))["status"];
    EXPECT_EQ(status["currentRevision"], status["updateRevision"]);
    EXPECT_EQ(status.value("readyReplicas", 0), replicas);
    before = h.cluster.log.size();
    h.pass(60s);
    EXPECT_EQ(h.cluster.log.size(), before);
  }
}

}  // namespace
}  // namespace gantry::controllers
