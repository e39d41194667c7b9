// Two ReplicaSets whose pods fail, end, change sides and stray, under random scales, leaders, lost answers and stale
// views: never more pods than were asked for, one owner for each, exactly the declared count once quiet.
#include <gtest/gtest.h>

#include "services/controllers/framework/testing/dice.h"
#include "services/controllers/framework/testing/harness.h"
#include "services/controllers/replicaset/replicaset.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct Herd {
  testing::Dice& dice;
  testing::Harness h;
  uint64_t epoch = 1;
  int strays = 0;
  std::map<std::string, int> wanted{{"a", 3}, {"b", 3}};
  std::map<std::string, int> most = wanted;  // that anything since the last quiet time gives a reason for

  explicit Herd(testing::Dice& d) : dice(d) {
    h.start(std::make_unique<ReplicaSetController>());
    h.cluster.lose_answer = [this](const bus::Command&) { return dice.chance(3); };
    for (const auto& [name, replicas] : wanted) {
      h.cluster.add(fmt::format(
          R"({{"apiVersion":"apps/v1","kind":"ReplicaSet","metadata":{{"name":"{0}","namespace":"d"}},
               "spec":{{"replicas":{1},"selector":{{"matchLabels":{{"app":"{0}"}}}},
                 "template":{{"metadata":{{"labels":{{"app":"{0}"}}}},"spec":{{"containers":[{{"name":"c","image":"demo:1"}}]}}}}}}}})",
          name, replicas));
    }
    h.run();
  }

  std::string set() { return dice.chance(50) ? "a" : "b"; }
  static std::string app(const json& pod) { return pod["metadata"]["labels"].value("app", ""); }
  static std::string owner(const json& pod) {
    const json owners = pod["metadata"].value("ownerReferences", json::array());
    EXPECT_LE(owners.size(), 1u) << pod["metadata"];
    return owners.empty() ? "" : owners[0]["name"].get<std::string>();
  }
  static bool active(const json& pod) {
    const std::string phase = pod.value("status", json::object()).value("phase", "");
    return !pod["metadata"].contains("deletionTimestamp") && phase != "Failed" && phase != "Succeeded";
  }
  int count(const std::string& name) {
    int n = 0;
    for (const json& pod : h.cluster.all("pods")) n += active(pod) && owner(pod) == name;
    return n;
  }

  void scale() {
    const std::string name = set();
    wanted[name] = dice.pick(12);
    most[name] = std::max(most[name], wanted[name]);
    h.cluster.edit("replicasets", "d/" + name, fmt::format(R"({{"spec":{{"replicas":{}}}}})", wanted[name]));
  }
  void stray() {
    const std::string name = set();
    ++most[name];
    h.cluster.add(fmt::format(
        R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"stray-{}","namespace":"d","labels":{{"app":"{}"}}}},"spec":{{"containers":[]}}}})",
        strays++, name));
  }
  /// To the other set, or to none.
  void relabel(const std::string& key) {
    const std::string to = dice.of(std::vector<std::string>{"a", "b", "none"});
    if (to != "none") ++most[to];
    h.cluster.edit("pods", key, fmt::format(R"({{"metadata":{{"labels":{{"app":"{}"}}}}}})", to));
  }
  void serve(int percent) {
    for (const std::string& key : h.cluster.keys("pods")) {
      if (!dice.chance(percent)) continue;
      if (h.cluster.get("pods", key)->at("metadata").contains("deletionTimestamp")) h.cluster.erase("pods", key);
    }
    if (dice.chance(percent)) h.ready_pods();
  }

  void act() {
    const int what = dice.pick(100);
    if (what < 30) return serve(50);
    if (what < 50) return scale();
    if (what < 55) return stray();
    if (what < 62) return h.runner().lead("controllers-replicaset", ++epoch);
    if (what < 70) {
      h.cluster.hold_events = true;  // stale views
      return;
    }
    const auto keys = h.cluster.keys("pods");
    if (keys.empty()) return;
    const std::string key = dice.of(keys);
    if (what < 80) return h.cluster.edit("pods", key, R"({"status":{"phase":"Failed","conditions":null}})");
    if (what < 90) return relabel(key);
    h.cluster.erase("pods", key);
  }

  void holds() {
    for (const auto& [name, limit] : most) EXPECT_LE(count(name), limit) << name;
  }

  void quiet() {
    h.cluster.release_events();
    for (int i = 0; i < 30; ++i) {
      h.pass(2s);
      serve(100);
    }
    h.pass(2s);
    for (const auto& [name, replicas] : wanted) {
      EXPECT_EQ(count(name), replicas) << name;
      const json status = h.cluster.get("replicasets", "d/" + name)->value("status", json::object());
      EXPECT_EQ(status.value("replicas", 0), replicas) << name;
      EXPECT_EQ(status.value("readyReplicas", 0), replicas) << name;
      EXPECT_EQ(status.value("availableReplicas", 0), replicas) << name;
    }
    for (const json& pod : h.cluster.all("pods")) {
      if (active(pod)) EXPECT_EQ(owner(pod), app(pod) == "none" ? "" : app(pod)) << pod["metadata"];
    }
    const size_t before = h.cluster.log.size();
    h.pass(60s);
    EXPECT_EQ(h.cluster.log.size(), before) << "commands in a quiet minute";
    most = wanted;
    h.cluster.log.clear();
    for (const std::string& key : h.cluster.keys("pods")) {  // nobody else tidies up here
      const json& pod = *h.cluster.get("pods", key);
      if (!active(pod) || app(pod) == "none") h.cluster.erase("pods", key);
    }
  }
};

TEST(ReplicaSetProperty, NeverMoreThanAskedForAndExactlyThatOnceQuiet) {
  testing::Dice dice(1000);
  SCOPED_TRACE(fmt::format("GANTRY_SEED={}", dice.seed()));
  Herd herd(dice);
  for (int step = 0; step < dice.steps() && !::testing::Test::HasFailure(); ++step) {
    SCOPED_TRACE(fmt::format("step {}", step));
    herd.act();
    herd.h.pass(std::chrono::milliseconds(dice.pick(500)));
    herd.holds();
    if (dice.chance(70)) herd.h.cluster.release_events();
    if (step % 50 == 49) herd.quiet();
  }
}

}  // namespace
}  // namespace gantry::controllers
