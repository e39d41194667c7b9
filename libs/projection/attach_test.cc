#include <gtest/gtest.h>

#include <random>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/testing/fake_bus.h"
#include "libs/bus/testing/fake_source.h"
#include "libs/model/draft.h"
#include "libs/projection/cache.h"

namespace gantry::projection {
namespace {

using gantry::testing::FakeNetwork;
using gantry::testing::FakeSource;
using gantry::testing::ManualLoop;
using std::chrono::milliseconds;
using std::chrono::seconds;

const model::Kind& pods() { return *model::Schema::get().by_resource("pods"); }

model::Bytes pod_bytes(std::string_view ns, std::string_view name, std::string_view node = "",
                       std::string_view app = "") {
  model::Draft draft(pods());
  draft.set("metadata.name", name);
  draft.set("metadata.namespace", ns);
  if (!node.empty()) draft.set("spec.nodeName", node);
  if (!app.empty()) draft.set("metadata.labels[app]", app);
  return draft.bytes();
}

struct AttachedCache : ::testing::Test {
  AttachedCache() {
    cache.add_index("node", [](const model::Object& o, std::vector<std::string>& values) {
      const auto* spec = o.as<api::core_v1::Pod>()->spec();
      if (spec != nullptr && spec->node_name() != nullptr) values.push_back(spec->node_name()->str());
    });
    cache.on_change([this](const Change& c) {
      changes.push_back(fmt::format("{}{}",
                                    !c.before  ? "+"
                                    : !c.after ? "-"
                                               : "~",
                                    c.after ? c.after.name() : c.before.name()));
    });
  }
  std::vector<std::string> on_node(std::string_view node) {
    std::vector<std::string> names;
    cache.for_each_by("node", node, [&](const model::Object& o) { names.emplace_back(o.name()); });
    return names;
  }
  Cache cache{pods()};
  std::vector<std::string> changes;
};

struct AttachTest : AttachedCache {
  ManualLoop loop;
  FakeNetwork network{loop};
  std::unique_ptr<gantry::testing::FakeBus> apigw = network.connect("apigw"), bus = network.connect("controllers");
  FakeSource source{loop, *apigw};
  std::unique_ptr<bus::Commands> commands = bus::make_command_client(loop, *bus, "controllers");
};

TEST_F(AttachTest, FollowsSnapshotAndEvents) {
  source.put("pods", "a", "x", "", pod_bytes("a", "x"));
  auto feed = attach(loop, *bus, *commands, cache, {"pods", "", ""});
  loop.drain();
  EXPECT_TRUE(cache.synced());
  ASSERT_NE(cache.find("a", "x"), nullptr);
  auto revision = source.put("pods", "a", "y", "n1", pod_bytes("a", "y", "n1"));
  source.put("pods", "a", "bodyless", "", "");
  source.put("pods", "a", "broken", "", "not a FlatBuffer");
  source.remove("pods", "a", "x");
  loop.drain();
  EXPECT_EQ(cache.find("a", "y")->revision(), revision);
  EXPECT_EQ(cache.find("a", "x"), nullptr);
  for (const char* name : {"bodyless", "broken"}) {
    ASSERT_NE(cache.find("a", name), nullptr) << name;
    EXPECT_TRUE(model::verify(*pods().type, cache.find("a", name)->bytes()));
    EXPECT_EQ(cache.find("a", name)->ns(), "a");
  }
  EXPECT_EQ(cache.revision(), source.head({"pods", "", ""}));
}

TEST_F(AttachTest, OnANodeAnObjectThatLeftIsGone) {
  auto feed = attach(loop, *bus, *commands, cache, {"pods", "n1", ""});
  source.put("pods", "a", "x", "n1", pod_bytes("a", "x", "n1"));
  loop.drain();
  EXPECT_EQ(cache.size(), 1u);
  source.put("pods", "a", "x", "n2", pod_bytes("a", "x", "n2"));
  source.dependency("pods", "a", "d", "n1");  // about something else: not an object of this cache
  loop.drain();
  EXPECT_EQ(cache.size(), 0u);
  EXPECT_EQ(cache.revision(), source.head({"pods", "n1", ""}));
}

TEST_F(AttachTest, AResetShowsTheNewStateInEachCallback) {
  auto feed = attach(loop, *bus, *commands, cache, {"pods", "", ""});
  loop.drain();
  std::vector<size_t> sizes;
  cache.on_change([&](const Change&) { sizes.push_back(cache.size()); });
  source.set_muted(true);
  for (const char* name : {"x", "y", "z"}) source.put("pods", "a", name, "", pod_bytes("a", name));
  source.trim("pods");
  source.set_muted(false);
  source.put("pods", "a", "x", "", pod_bytes("a", "x"));
  loop.drain();
  EXPECT_EQ(sizes, (std::vector<size_t>{3, 3, 3}));
}

/// Under faults the cache ends equal to the source, its indexes included.
TEST_F(AttachTest, EndsEqualWhateverHappens) {
  auto feed = attach(loop, *bus, *commands, cache, {"pods", "", ""});
  std::mt19937_64 random(5);
  for (int step = 0; step < 2000; ++step) {
    if (step % 100 == 0) {
      network.set_faults({.drop = static_cast<double>(random() % 4) / 10,
                          .duplicate = 0.2,
                          .max_delay = milliseconds(random() % 200)});
    }
    if (step % 300 == 299) source.trim("pods");
    auto name = std::to_string(random() % 30), node = "n" + std::to_string(random() % 3);
    if (random() % 5 == 0) {
      source.remove("pods", "a", name);
    } else {
      source.put("pods", "a", name, node, pod_bytes("a", name, node));
    }
    loop.advance(milliseconds(random() % 20));
  }
  network.set_faults({});
  loop.advance(seconds(60));
  auto truth = source.view({"pods", "", ""});
  EXPECT_EQ(cache.size(), truth.size());
  std::map<std::string, std::vector<std::string>> by_node;
  for (auto& [key, object] : truth) {
    const auto* mine = cache.find("a", key.substr(2));
    ASSERT_NE(mine, nullptr) << key;
    EXPECT_EQ(mine->revision(), object.revision);
    by_node[object.node].push_back(key.substr(2));
  }
  for (auto& [node, names] : by_node) EXPECT_EQ(on_node(node), names);
}

}  // namespace
}  // namespace gantry::projection
