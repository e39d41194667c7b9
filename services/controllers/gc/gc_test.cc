#include "services/controllers/gc/gc.h"

#include <gtest/gtest.h>

#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct GcTest : ::testing::Test {
  void SetUp() override { h.start(std::make_unique<GarbageCollector>()); }
  /// A ConfigMap with these owners (names of other ConfigMaps).
  void add(std::string_view name, std::vector<std::string> owners = {}, bool blocks = false) {
    json references = json::array();
    for (const std::string& owner : owners) {
      references.push_back({{"apiVersion", "v1"},
                            {"kind", "ConfigMap"},
                            {"name", owner},
                            {"uid", "uid-of-" + owner},
                            {"blockOwnerDeletion", blocks}});
    }
    json object = {{"apiVersion", "v1"},
                   {"kind", "ConfigMap"},
                   {"metadata", {{"name", name}, {"namespace", "d"}, {"uid", fmt::format("uid-of-{}", name)}}}};
    if (!owners.empty()) object["metadata"]["ownerReferences"] = references;
    h.cluster.add(object.dump());
  }
  void end(std::string_view name, std::string_view propagation) {
    bus::Command command;
    command.verb = bus::Verb::Delete;
    command.resource = "configmaps";
    command.ns = "d";
    command.name = name;
    command.propagation = propagation;
    ASSERT_TRUE(h.cluster.run(command).ok());
    h.pass(1s);
  }
  bool there(std::string_view name) { return h.cluster.get("configmaps", fmt::format("d/{}", name)) != nullptr; }
  testing::Harness h;
};

TEST_F(GcTest, DependentsOfAnAbsentOwnerGoDownToTheLast) {
  add("owner");
  add("child", {"owner"});
  add("grandchild", {"child"});
  add("stranger");
  h.run();
  EXPECT_EQ(h.cluster.count("configmaps"), 4u);
  end("owner", "Background");
  EXPECT_EQ(h.cluster.keys("configmaps"), (std::vector<std::string>{"d/stranger"}));
}

TEST_F(GcTest, OneMadeAfterItsOwnerWentGoesToo) {
  h.run();
  add("late", {"gone"});
  h.pass(1s);
  EXPECT_FALSE(there("late"));
}

TEST_F(GcTest, AViewThatMissesTheOwnerDeletesNothing) {
  h.run();
  h.cluster.hold_events = true;
  add("owner");
  h.loop.drain();
  h.cluster.release_events();
  h.view.need("configmaps").remove("d", "owner", h.cluster.head("configmaps"));  // lost from this view only
  add("child", {"owner"});
  h.pass(30s);
  EXPECT_TRUE(there("child"));
}

TEST_F(GcTest, OneOwnerLeftIsEnough) {
  add("a");
  add("b");
  add("c");
  add("child", {"a", "b", "c"});
  h.run();
  end("a", "Background");
  ASSERT_TRUE(there("child"));
  EXPECT_EQ((*h.cluster.get("configmaps", "d/child"))["metadata"]["ownerReferences"].size(), 2u);
  h.cluster.hold_events = true;
  h.cluster.erase("configmaps", "d/b");
  h.cluster.erase("configmaps", "d/c");
  h.cluster.release_events();
  h.pass(1s);
  EXPECT_FALSE(there("child"));
}

TEST_F(GcTest, AnOwnerOfAnotherUidIsNoOwner) {
  add("owner");
  h.run();
  json child = {{"apiVersion", "v1"},
                {"kind", "ConfigMap"},
                {"metadata",
                 {{"name", "child"},
                  {"namespace", "d"},
                  {"ownerReferences",
                   {{{"apiVersion", "v1"}, {"kind", "ConfigMap"}, {"name", "owner"}, {"uid", "an-older-one"}}}}}}};
  h.cluster.add(child.dump());
  h.pass(1s);
  EXPECT_FALSE(there("child"));
}

TEST_F(GcTest, UnknownKindsAreLeftAlone) {
  h.cluster.add(
      R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c","namespace":"d","ownerReferences":[{"apiVersion":"example.com/v1","kind":"Thing","name":"t","uid":"x"}]}})");
  h.run(10s);
  EXPECT_TRUE(there("c"));
}

TEST_F(GcTest, ForegroundWaitsForBlockingDependents) {
  add("owner");
  add("child", {"owner"}, true);
  add("grandchild", {"child"}, true);
  h.cluster.edit("configmaps", "d/grandchild", R"({"metadata":{"finalizers":["x/hold"]}})");
  h.run();
  end("owner", "Foreground");
  ASSERT_TRUE(there("owner"));
  ASSERT_TRUE(there("child"));
  EXPECT_TRUE((*h.cluster.get("configmaps", "d/grandchild"))["metadata"].contains("deletionTimestamp"));
  h.cluster.edit("configmaps", "d/grandchild", R"({"metadata":{"finalizers":null}})");
  h.pass(1s);
  EXPECT_EQ(h.cluster.count("configmaps"), 0u);
}

TEST_F(GcTest, OrphansKeepLiving) {
  add("owner");
  add("child", {"owner"});
  h.run();
  end("owner", "Orphan");
  EXPECT_FALSE(there("owner"));
  ASSERT_TRUE(there("child"));
  EXPECT_FALSE((*h.cluster.get("configmaps", "d/child"))["metadata"].contains("ownerReferences"));
}

}  // namespace
}  // namespace gantry::controllers
