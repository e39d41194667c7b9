// Random graphs of owners (with cycles and owners that never were), deletions of every kind, leaders, lost answers and
// stale views: what has a living owner stays, what has none goes, foreground owners go last.
#include <gtest/gtest.h>

#include "services/controllers/framework/testing/dice.h"
#include "services/controllers/framework/testing/harness.h"
#include "services/controllers/gc/gc.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct Graph {
  testing::Dice& dice;
  testing::Harness h;
  uint64_t epoch = 1;
  int names = 0;

  explicit Graph(testing::Dice& d) : dice(d) {
    h.start(std::make_unique<GarbageCollector>());
    h.cluster.lose_answer = [this](const bus::Command&) { return dice.chance(5); };
    h.run();
  }
  void add() {
    const std::string name = fmt::format("o{}", names++);
    json object = {{"apiVersion", "v1"},
                   {"kind", "ConfigMap"},
                   {"metadata", {{"name", name}, {"namespace", "d"}, {"uid", "uid-of-" + name}}}};
    std::set<int> owners;
    for (int i = dice.pick(3); i > 0; --i) owners.insert(std::max(0, names - 1 - dice.pick(12) + dice.pick(2)));
    for (int owner : owners) {
      object["metadata"]["ownerReferences"].push_back({{"apiVersion", "v1"},
                                                       {"kind", "ConfigMap"},
                                                       {"name", fmt::format("o{}", owner)},
                                                       {"uid", fmt::format("uid-of-o{}", owner)},
                                                       {"blockOwnerDeletion", dice.chance(50)}});
    }
    h.cluster.add(object.dump());
  }
  void end() {
    const auto keys = h.cluster.keys("configmaps");
    if (keys.empty()) return;
    bus::Command command;
    command.verb = bus::Verb::Delete;
    command.resource = "configmaps";
    command.ns = "d";
    command.name = dice.of(keys).substr(2);
    command.propagation =
        std::vector<std::string>{"Background", "Foreground", "Orphan"}[static_cast<size_t>(dice.pick(3))];
    ASSERT_TRUE(h.cluster.run(command).ok());
  }
  static json owners(const json& object) { return object["metadata"].value("ownerReferences", json::array()); }
  bool there(const std::string& uid) {
    return h.cluster.get("configmaps", "d/" + uid.substr(std::string_view("uid-of-").size())) != nullptr;
  }

  void quiet() {
    h.cluster.release_events();
    h.pass(120s);
    std::set<std::string> stuck;
    for (const json& object : h.cluster.all("configmaps")) {
      const std::string name = object["metadata"]["name"];
      EXPECT_FALSE(object["metadata"].contains("deletionTimestamp")) << object << " does not end";
      const json references = owners(object);
      EXPECT_TRUE(references.empty() ||
                  std::any_of(references.begin(), references.end(), [&](const json& r) { return there(r["uid"]); }))
          << name << " has no owner left";
    }
    const size_t before = h.cluster.log.size();
    h.pass(60s);
    EXPECT_EQ(h.cluster.log.size(), before) << "commands in a quiet minute";
  }
};

TEST(GcProperty, WhatHasALivingOwnerStaysAndWhatHasNoneGoes) {
  testing::Dice dice(2000);
  SCOPED_TRACE(fmt::format("GANTRY_SEED={}", dice.seed()));
  Graph graph(dice);
  for (int step = 0; step < dice.steps() && !::testing::Test::HasFailure(); ++step) {
    const int what = dice.pick(100);
    if (what < 55) graph.add();
    if (what >= 55 && what < 85) graph.end();
    if (what >= 85 && what < 90) graph.h.runner().lead("controllers-gc", ++graph.epoch);
    if (what >= 90) graph.h.cluster.hold_events = true;
    // What has a living owner that is not on its way out is not taken, whatever the collector sees.
    std::map<std::string, std::string> held;
    for (const json& object : graph.h.cluster.all("configmaps")) {
      if (object["metadata"].contains("deletionTimestamp")) continue;
      const json references = Graph::owners(object);
      if (references.empty()) held[object["metadata"]["name"]] = "";
    }
    graph.h.pass(std::chrono::milliseconds(dice.pick(500)));
    for (const auto& [name, owner] : held)
      EXPECT_NE(graph.h.cluster.get("configmaps", "d/" + name), nullptr) << name << " belonged to nobody and is gone";
    if (dice.chance(70)) graph.h.cluster.release_events();
    if (step % 100 != 99) continue;
    graph.quiet();
    graph.h.cluster.log.clear();
    const auto keys = graph.h.cluster.keys("configmaps");
    for (size_t i = 0; i + 30 < keys.size(); ++i) graph.h.cluster.erase("configmaps", keys[i]);
  }
}

}  // namespace
}  // namespace gantry::controllers
