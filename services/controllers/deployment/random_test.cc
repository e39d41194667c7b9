// Deployments under random rollouts, scales, failures, users, leaders, lost answers and stale views, with the
// ReplicaSet controller below them. In calm rounds nothing fails, and then no rollout may take more than it promised.
#include <gtest/gtest.h>

#include "services/controllers/deployment/deployment.h"
#include "services/controllers/framework/testing/dice.h"
#include "services/controllers/framework/testing/harness.h"
#include "services/controllers/replicaset/replicaset.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct Fleet {
  testing::Dice& dice;
  testing::Harness h;
  uint64_t epoch = 1;
  int replicas = 5, version = 1, surge = 1, down = 1, most = 0;
  bool recreate = false, calm = false, paused = false;

  explicit Fleet(testing::Dice& d) : dice(d) {
    h.start(std::make_unique<DeploymentController>());
    h.start(std::make_unique<ReplicaSetController>());
    h.cluster.lose_answer = [this](const bus::Command&) { return dice.chance(3); };
    h.cluster.add(
        R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"d"},
            "spec":{"replicas":5,"revisionHistoryLimit":2,"selector":{"matchLabels":{"app":"web"}},
              "template":{"metadata":{"labels":{"app":"web"}},"spec":{"containers":[{"name":"c","image":"demo:1"}]}}}})");
    h.run();
  }

  void spec(const std::string& change) { h.cluster.edit("deployments", "d/web", R"({"spec":)" + change + "}"); }
  void image() {
    version = 1 + dice.pick(5);
    spec(fmt::format(R"({{"template":{{"spec":{{"containers":[{{"name":"c","image":"demo:{}"}}]}}}}}})", version));
  }
  void strategy() {
    recreate = dice.chance(15);
    surge = dice.pick(4), down = surge == 0 ? 1 + dice.pick(3) : dice.pick(4);
    spec(recreate
             ? R"({"strategy":{"type":"Recreate","rollingUpdate":null}})"
             : fmt::format(
                   R"({{"strategy":{{"type":"RollingUpdate","rollingUpdate":{{"maxSurge":{},"maxUnavailable":{}}}}}}})",
                   surge, down));
    if (recreate) surge = 0;
  }
  void pause(bool now) { spec(fmt::format(R"({{"paused":{}}})", paused = now)); }
  void scale() {
    replicas = dice.pick(9);
    spec(fmt::format(R"({{"replicas":{}}})", replicas));
  }
  void expect_at_most() { most = std::max(most, replicas + surge); }

  static bool active(const json& pod) {
    const std::string phase = pod.value("status", json::object()).value("phase", "");
    return !pod["metadata"].contains("deletionTimestamp") && phase != "Failed" && phase != "Succeeded";
  }
  static bool ready(const json& pod) {
    return active(pod) && pod.contains("status") && pod["status"].contains("conditions");
  }
  std::string some_pod() {
    const auto keys = h.cluster.keys("pods");
    return keys.empty() ? "" : dice.of(keys);
  }
  /// Some of what starts is up, some of what ends is gone.
  void serve(int percent) {
    for (const std::string& key : h.cluster.keys("pods")) {
      const json& pod = *h.cluster.get("pods", key);
      if (!dice.chance(percent)) continue;
      if (pod["metadata"].contains("deletionTimestamp")) {
        h.cluster.erase("pods", key);
      } else if (active(pod) && !ready(pod)) {
        h.cluster.edit(
            "pods", key,
            fmt::format(
                R"({{"status":{{"phase":"Running","conditions":[{{"type":"Ready","status":"True","lastTransitionTime":"{}"}}]}}}})",
                h.now()));
      }
    }
  }
  void fail(const char* status) {
    if (const std::string key = some_pod(); !key.empty()) h.cluster.edit("pods", key, status);
  }

  void act() {
    const int what = dice.pick(100);
    if (what < 40) return serve(50);
    if (what < 52) return image();
    if (what < 56) return pause(!paused);
    if (what < 60) return h.runner(static_cast<size_t>(dice.pick(2))).lead("controllers-x", ++epoch);
    if (what < 64) h.cluster.hold_events = true;  // stale views
    if (calm || what < 64) return;
    if (what < 72) return scale();
    if (what < 75) return strategy();
    if (what < 80) return fail(R"({"status":{"phase":"Failed","conditions":null}})");
    if (what < 85) return fail(R"({"status":{"conditions":null}})");
    if (what < 88) return fail(R"({"metadata":{"labels":{"app":"elsewhere"}}})");
    if (const std::string key = some_pod(); what < 92 && !key.empty()) h.cluster.erase("pods", key);
  }

  void holds() {
    int wanted = 0, up = 0;
    std::set<std::string> versions;
    for (const json& set : h.cluster.all("replicasets")) wanted += set["spec"].value("replicas", 0);
    for (const json& pod : h.cluster.all("pods")) {
      up += ready(pod);
      versions.insert(pod["spec"]["containers"][0]["image"]);
    }
    EXPECT_LE(wanted, most);
    if (!calm) return;
    if (recreate) {
      EXPECT_LE(versions.size(), 1u) << "a version began before the one before it was gone";
    } else {
      EXPECT_GE(up, replicas - down) << tell();
    }
  }

  std::string tell() {
    std::string text = fmt::format("surge {} down {} of {}: ", surge, down, replicas);
    for (const json& set : h.cluster.all("replicasets"))
      text += fmt::format("{} {} {}; ", set["metadata"]["name"].dump(), set["spec"].dump().substr(0, 20),
                          set.value("status", json::object()).dump());
    return text;
  }
  void quiet() {
    h.cluster.release_events();
    if (paused) pause(false);
    for (int i = 0; i < 60; ++i) {
      h.pass(2s);
      serve(100);
    }
    for (const std::string& key : h.cluster.keys("pods")) {  // ended, or released: nobody else tidies up here
      const json& pod = *h.cluster.get("pods", key);
      if (pod.contains("metadata") && pod["metadata"]["labels"]["app"] != "web") {
        if (active(pod)) {
          EXPECT_EQ(pod["metadata"].value("ownerReferences", json::array()), json::array()) << "released";
        }
        h.cluster.erase("pods", key);
      } else if (!active(pod)) {
        h.cluster.erase("pods", key);
      }
    }
    h.pass(2s);
    const json deployment = *h.cluster.get("deployments", "d/web");
    const std::string now = fmt::format("demo:{}", version);
    std::map<std::string, json> sets;
    size_t newest = 0;
    for (const json& set : h.cluster.all("replicasets")) {
      sets[set["metadata"]["uid"]] = set;
      EXPECT_EQ(set["metadata"]["ownerReferences"][0]["uid"], deployment["metadata"]["uid"]);
      const bool is_new = set["spec"]["template"]["spec"]["containers"][0]["image"] == now;
      newest += is_new;
      EXPECT_EQ(set["spec"].value("replicas", 0), is_new ? replicas : 0);
    }
    EXPECT_EQ(newest, 1u) << tell();
    EXPECT_LE(sets.size(), 3u);
    EXPECT_EQ(h.cluster.count("pods"), static_cast<size_t>(replicas));
    for (const json& pod : h.cluster.all("pods")) {
      EXPECT_EQ(pod["spec"]["containers"][0]["image"], now);
      ASSERT_EQ(pod["metadata"]["ownerReferences"].size(), 1u);
      EXPECT_TRUE(sets.contains(pod["metadata"]["ownerReferences"][0]["uid"]));
    }
    const json status = deployment["status"];
    for (const char* count : {"replicas", "updatedReplicas", "readyReplicas", "availableReplicas"})
      EXPECT_EQ(status.value(count, 0), replicas) << count;
    EXPECT_EQ(status.value("observedGeneration", 0), deployment["metadata"]["generation"]);
    const size_t before = h.cluster.log.size();
    h.pass(60s);
    EXPECT_EQ(h.cluster.log.size(), before) << "commands in a quiet minute";
  }

  int round() {
    calm = dice.chance(50);
    strategy();
    h.pass(1s);
    most = 0;
    int steps = 0;
    for (; steps < 60 && !::testing::Test::HasFailure(); ++steps) {
      expect_at_most();
      act();
      expect_at_most();
      h.pass(std::chrono::milliseconds(dice.pick(2000)));
      if (dice.chance(60)) {
        h.cluster.release_events();
        h.pass(std::chrono::milliseconds(dice.pick(50)));
      }
      holds();
    }
    if (!::testing::Test::HasFailure()) quiet();
    return steps;
  }
};

TEST(DeploymentProperty, KeepsItsBoundsAndComesToRestAsDeclared) {
  testing::Dice dice(1200);
  SCOPED_TRACE(fmt::format("GANTRY_SEED={}", dice.seed()));
  Fleet fleet(dice);
  fleet.quiet();
  for (int steps = 0; steps < dice.steps() && !::testing::Test::HasFailure();) {
    steps += fleet.round();
    fleet.h.cluster.log.clear();
  }
}

}  // namespace
}  // namespace gantry::controllers
