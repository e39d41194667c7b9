#include "services/controllers/daemonset/daemonset.h"

#include <gtest/gtest.h>

#include "services/controllers/daemonset/members.h"
#include "services/controllers/framework/testing/dice.h"
#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

std::string daemon_set(std::string_view extra = "", std::string_view pod = "") {
  return fmt::format(R"({{"apiVersion":"apps/v1","kind":"DaemonSet","metadata":{{"name":"log","namespace":"d"}},
    "spec":{{{}"selector":{{"matchLabels":{{"app":"log"}}}},
      "template":{{"metadata":{{"labels":{{"app":"log"}}}},
                  "spec":{{{}"containers":[{{"name":"c","image":"demo:1"}}]}}}}}}}})",
                     extra, pod);
}

struct DaemonSetTest : ::testing::Test {
  void SetUp() override { h.start(std::make_unique<DaemonSetController>()); }
  void node(std::string_view name, std::string_view meta = "", std::string_view spec = "") {
    h.cluster.add(fmt::format(R"({{"apiVersion":"v1","kind":"Node","metadata":{{"name":"{}"{}}},"spec":{{{}}}}})", name,
                              meta, spec));
  }
  json status() { return h.cluster.get("daemonsets", "d/log")->value("status", json::object()); }
  void image(std::string_view name) {
    h.cluster.edit(
        "daemonsets", "d/log",
        fmt::format(R"({{"spec":{{"template":{{"spec":{{"containers":[{{"name":"c","image":"{}"}}]}}}}}}}})", name));
  }
  static std::string wanted(const json& pod) {
    return pod["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
              ["nodeSelectorTerms"][0]["matchFields"][0]["values"][0];
  }
  /// As the scheduler and the agents would, once.
  void serve() {
    for (const std::string& key : h.cluster.keys("pods")) {
      const json& pod = *h.cluster.get("pods", key);
      if (!pod["spec"].contains("nodeName"))
        h.cluster.edit("pods", key, fmt::format(R"({{"spec":{{"nodeName":"{}"}}}})", wanted(pod)));
    }
    h.ready_pods();
    h.pass(1s);
  }
  void settle(int rounds = 20) {
    for (int i = 0; i < rounds; ++i) serve();
  }
  /// Node -> image of the pods that are not going.
  std::multimap<std::string, std::string> pods() {
    std::multimap<std::string, std::string> out;
    for (const json& pod : h.cluster.all("pods")) {
      if (!pod["metadata"].contains("deletionTimestamp"))
        out.emplace(wanted(pod), pod["spec"]["containers"][0]["image"]);
    }
    return out;
  }
  size_t available() {
    size_t n = 0;
    for (const json& pod : h.cluster.all("pods"))
      n += !pod["metadata"].contains("deletionTimestamp") && pod.contains("status") &&
           pod["status"].contains("conditions");
    return n;
  }
  testing::Harness h;
};

TEST_F(DaemonSetTest, APodOnEachNodeNamedByAffinity) {
  node("a");
  node("b", "", R"("unschedulable":true,"taints":[{"key":"node.kubernetes.io/unschedulable","effect":"NoSchedule"}])");
  h.cluster.add(daemon_set());
  h.run();
  ASSERT_EQ(pods().size(), 2u);
  json pod = h.cluster.all("pods")[0];
  EXPECT_TRUE(pod["metadata"]["name"].get<std::string>().starts_with("log-"));
  json revision = h.cluster.all("controllerrevisions")[0];
  std::string hash = revision["metadata"]["labels"]["controller-revision-hash"];
  EXPECT_EQ(revision["metadata"]["name"], "log-" + hash);
  EXPECT_EQ(pod["metadata"]["labels"]["controller-revision-hash"], hash);
  EXPECT_EQ(pod["spec"]["tolerations"].size(), 6u);
  EXPECT_FALSE(pod["spec"].contains("nodeName"));
  EXPECT_EQ(status()["desiredNumberScheduled"], 2);
  EXPECT_EQ(status()["numberUnavailable"], 2);
  settle(2);
  EXPECT_EQ(status()["numberReady"], 2);
  EXPECT_EQ(status()["numberAvailable"], 2);
  EXPECT_EQ(status()["updatedNumberScheduled"], 2);
  EXPECT_FALSE(status().contains("numberUnavailable"));
  node("c");
  h.pass(1s);
  EXPECT_EQ(pods().count("c"), 1u);
  h.cluster.erase("nodes", "c");
  h.pass(1s);
  EXPECT_EQ(pods().count("c"), 0u);  // never bound
}

TEST_F(DaemonSetTest, OnlyOnNodesThatItSelectsAndTolerates) {
  node("plain");
  node("ssd", R"(,"labels":{"disk":"ssd"})");
  node("tainted", R"(,"labels":{"disk":"ssd"})", R"("taints":[{"key":"k","value":"v","effect":"NoSchedule"}])");
  h.cluster.add(daemon_set("", R"("nodeSelector":{"disk":"ssd"},)"));
  h.run();
  EXPECT_EQ(pods(), (std::multimap<std::string, std::string>{{"ssd", "demo:1"}}));
  settle(2);
  h.cluster.edit("nodes", "ssd", R"({"spec":{"taints":[{"key":"k","value":"v","effect":"NoSchedule"}]}})");
  settle(2);
  EXPECT_EQ(pods().count("ssd"), 1u);  // what runs may stay
  EXPECT_EQ(status()["numberMisscheduled"], 1);
  h.cluster.edit("nodes", "ssd", R"({"spec":{"taints":[{"key":"k","value":"v","effect":"NoExecute"}]}})");
  settle(2);
  EXPECT_EQ(pods().count("ssd"), 0u);
  h.cluster.edit("nodes", "plain", R"({"metadata":{"labels":{"disk":"ssd"}}})");
  settle(2);
  EXPECT_EQ(pods().count("plain"), 1u);
  h.cluster.edit("nodes", "plain", R"({"metadata":{"labels":{"disk":"hdd"}}})");
  settle(2);
  EXPECT_TRUE(pods().empty());
}

TEST_F(DaemonSetTest, ARollingUpdateKeepsNodesUp) {
  for (const char* name : {"a", "b", "c", "d", "e"}) node(name);
  h.cluster.add(daemon_set(R"("updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxUnavailable":2}},)"));
  h.run();
  settle(2);
  image("demo:2");
  for (int i = 0; i < 12; ++i) {
    h.pass(1s);
    EXPECT_GE(available(), 3u);
    serve();
  }
  for (const auto& [name, image] : pods()) EXPECT_EQ(image, "demo:2") << name;
  EXPECT_EQ(status()["updatedNumberScheduled"], 5);
  EXPECT_EQ(h.cluster.count("controllerrevisions"), 2u);
}

TEST_F(DaemonSetTest, SurgingTheNewComesBeforeTheOldGoes) {
  for (const char* name : {"a", "b", "c"}) node(name);
  h.cluster.add(
      daemon_set(R"("updateStrategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1,"maxUnavailable":0}},)"));
  h.run();
  settle(2);
  image("demo:2");
  for (int i = 0; i < 12; ++i) {
    h.pass(1s);
    EXPECT_GE(available(), 3u);
    EXPECT_LE(pods().size(), 4u);
    serve();
  }
  EXPECT_EQ(pods(), (std::multimap<std::string, std::string>{{"a", "demo:2"}, {"b", "demo:2"}, {"c", "demo:2"}}));
}

TEST_F(DaemonSetTest, OnDeleteWaitsForTheUser) {
  node("a");
  node("b");
  h.cluster.add(daemon_set(R"("updateStrategy":{"type":"OnDelete"},)"));
  h.run();
  settle(2);
  image("demo:2");
  settle(5);
  EXPECT_EQ(pods(), (std::multimap<std::string, std::string>{{"a", "demo:1"}, {"b", "demo:1"}}));
  h.cluster.erase("pods", h.cluster.keys("pods")[0]);
  settle(2);
  EXPECT_EQ(pods(), (std::multimap<std::string, std::string>{{"a", "demo:2"}, {"b", "demo:1"}}));
}

TEST_F(DaemonSetTest, FailedPodsAreMadeAnewButNotInAHurry) {
  node("a");
  h.cluster.add(daemon_set());
  h.run();
  std::string key = h.cluster.keys("pods")[0];
  h.cluster.edit("pods", key, R"({"status":{"phase":"Failed"}})");
  h.pass(5s);
  EXPECT_EQ(h.cluster.keys("pods"), (std::vector<std::string>{key}));
  h.pass(6s);
  ASSERT_EQ(h.cluster.count("pods"), 1u);
  EXPECT_NE(h.cluster.keys("pods")[0], key);
}

// Random nodes, templates, failures and leaders: one pod on each node, of the newest template, once quiet; during
// rollouts no more down on purpose than allowed.
TEST_F(DaemonSetTest, ComesToRestAsDeclared) {
  testing::Dice dice(600);
  SCOPED_TRACE(fmt::format("GANTRY_SEED={}", dice.seed()));
  h.cluster.lose_answer = [&](const bus::Command&) { return dice.chance(3); };
  h.cluster.add(daemon_set());
  h.run();
  std::set<std::string> nodes;
  int version = 1;
  uint64_t epoch = 1;
  for (int step = 0; step < dice.steps() && !HasFailure(); ++step) {
    int what = dice.pick(100);
    auto keys = h.cluster.keys("pods");
    if (what < 40) {
      serve();
    } else if (what < 50) {
      std::string name = fmt::format("n{}", dice.pick(6));
      if (nodes.insert(name).second) node(name);
    } else if (what < 54 && !nodes.empty()) {
      std::string name = *nodes.begin();
      nodes.erase(name);
      h.cluster.erase("nodes", name);
      for (const std::string& key : keys) {  // as podgc would
        if (wanted(*h.cluster.get("pods", key)) == name) h.cluster.erase("pods", key);
      }
    } else if (what < 64) {
      version = 1 + dice.pick(3);
      image(fmt::format("demo:{}", version));
    } else if (what < 72 && !keys.empty()) {
      h.cluster.edit("pods", dice.of(keys), R"({"status":{"phase":"Failed","conditions":null}})");
    } else if (what < 76 && !keys.empty()) {
      h.cluster.erase("pods", dice.of(keys));
    } else if (what < 80) {
      h.cluster.edit("daemonsets", "d/log",
                     fmt::format(R"({{"spec":{{"updateStrategy":{{"type":"RollingUpdate","rollingUpdate":{}}}}}}})",
                                 dice.chance(50) ? R"({"maxSurge":1,"maxUnavailable":0})"
                                                 : R"({"maxSurge":0,"maxUnavailable":2})"));
    } else if (what < 83) {
      h.runner().lead("controllers-daemonset", ++epoch);
    }
    h.pass(std::chrono::milliseconds(dice.pick(2000)));
    if (step % 60 != 59) continue;
    h.pass(15s);
    settle(60);
    auto there = pods();
    EXPECT_EQ(there.size(), nodes.size());
    for (const std::string& name : nodes) {
      auto it = there.find(name);
      ASSERT_NE(it, there.end()) << name;
      EXPECT_EQ(it->second, fmt::format("demo:{}", version));
    }
    EXPECT_EQ(status().value("numberAvailable", size_t{0}), nodes.size());
    size_t before = h.cluster.log.size();
    h.pass(60s);
    EXPECT_EQ(h.cluster.log.size(), before);
  }
}

}  // namespace
}  // namespace gantry::controllers
