#include "libs/projection/cache.h"

#include <gtest/gtest.h>

#include "libs/model/json.h"

namespace gantry::projection {
namespace {

class CacheTest : public ::testing::Test {
 protected:
  const model::Kind& kind_ = *model::Schema::get().by_resource("pods");
  Cache cache_{kind_};
  std::string told_;

  void SetUp() override {
    cache_.add_index("node", [](const model::Object& object, std::vector<std::string>& values) {
      const auto* spec = object.as<api::core_v1::Pod>()->spec();
      if (spec && spec->node_name()) values.push_back(spec->node_name()->str());
    });
    cache_.on_change([this](const Change& change) {
      told_ += change.before ? (change.after ? "~" : "-") : "+";
      told_ += change.after ? change.after.name() : change.before.name();
    });
  }
  model::Object pod(const std::string& name, const std::string& node, uint64_t revision,
                    const std::string& ns = "default") {
    auto bytes = model::from_json(kind_, R"({"metadata":{"name":")" + name + R"(","namespace":")" + ns +
                                             R"("},"spec":{"nodeName":")" + node + R"("}})");
    EXPECT_TRUE(bytes.ok());
    return {kind_, *bytes, revision};
  }
  std::string on(const std::string& node) {
    std::string out;
    cache_.for_each_by("node", node, [&](const model::Object& o) { out += std::string(o.name()) + " "; });
    return out;
  }
};

TEST_F(CacheTest, IndexFollowsEveryChange) {
  cache_.put(pod("b", "n1", 1), 1);
  cache_.put(pod("a", "n1", 2), 2);
  EXPECT_EQ(on("n1"), "a b ");
  cache_.put(pod("a", "n2", 3), 3);
  EXPECT_EQ(on("n1"), "b ");
  EXPECT_EQ(on("n2"), "a ");
  cache_.remove("default", "a", 4);
  EXPECT_EQ(on("n2"), "");
  EXPECT_EQ(told_, "+b+a~a-a");
  EXPECT_EQ(cache_.revision(), 4u);
  cache_.remove("default", "never-there", 5);
  EXPECT_EQ(cache_.revision(), 5u);
  EXPECT_EQ(told_, "+b+a~a-a");
}

TEST_F(CacheTest, ResetTellsOnlyTheDifference) {
  cache_.put(pod("same", "n1", 1), 1);
  cache_.put(pod("changed", "n1", 2), 2);
  cache_.put(pod("gone", "n1", 3), 3);
  told_.clear();
  cache_.reset(9, {pod("same", "n1", 1), pod("changed", "n2", 8), pod("new", "n2", 9)});
  EXPECT_EQ(told_, "-gone~changed+new");
  EXPECT_EQ(cache_.revision(), 9u);
  EXPECT_EQ(on("n2"), "changed new ");
}

TEST_F(CacheTest, NamespacesDoNotMix) {
  cache_.put(pod("a", "n1", 1, "team"), 1);
  cache_.put(pod("b", "n1", 2, "team-a"), 2);
  int seen = 0;
  cache_.for_each_in("team", [&](const model::Object& o) {
    ++seen;
    EXPECT_EQ(o.name(), "a");
  });
  EXPECT_EQ(seen, 1);
  EXPECT_NE(cache_.find("team-a", "b"), nullptr);
  EXPECT_EQ(cache_.find("team", "b"), nullptr);
}

TEST_F(CacheTest, SyncedIsToldOnce) {
  int times = 0;
  cache_.on_synced([&] { ++times; });
  cache_.mark_synced();
  cache_.mark_synced();
  EXPECT_EQ(times, 1);
  EXPECT_TRUE(cache_.synced());
}

}  // namespace
}  // namespace gantry::projection
