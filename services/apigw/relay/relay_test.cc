#include "services/apigw/relay/relay.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/bus/testing/fake_bus.h"
#include "libs/model/schema.h"
#include "libs/model/served.h"
#include "schemas/bus_generated.h"
#include "services/apigw/core/testing/test_gateway.h"

namespace gantry::apigw::testing {
namespace {

using gantry::testing::FakeBus;
using gantry::testing::FakeNetwork;
using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Lines = std::vector<std::string>;

class RelayTest : public ::testing::Test {
 protected:
  RelayTest() {
    events_ = listener->subscribe("gantry.events.configmaps.>", "",
                                  [this](const bus::Message& m) { heard.emplace_back(m.subject); });
    heads_ = listener->subscribe("gantry.heads.configmaps.>", "", [this](const bus::Message& m) {
      heads[std::string(m.subject)] = flatbuffers::GetRoot<bus::Head>(m.data.data())->revision();
    });
  }
  std::unique_ptr<Relay> relay(const char* holder) {
    return std::make_unique<Relay>(g.loop, g.store, *bus, RelayConfig{.holder = holder});
  }
  uint64_t make(const std::string& name) {
    auto answer = g.create("configmaps", "default", {{"metadata", {{"name", name}}}});
    g.loop.drain();
    return answer->revision;
  }
  Lines take() {
    g.loop.drain();
    return std::exchange(heard, {});
  }

  TestGateway g;
  FakeNetwork network{g.loop};
  std::unique_ptr<FakeBus> bus = network.connect("apigw"), listener = network.connect("admin");
  Lines heard;
  std::map<std::string, uint64_t> heads;
  std::unique_ptr<bus::Subscription> events_, heads_;
};

TEST_F(RelayTest, PublishesEveryCommitOnceAndInOrder) {
  make("before");
  auto active = relay("a");
  make("after");
  EXPECT_THAT(take(),
              ElementsAre("gantry.events.configmaps._.default.before", "gantry.events.configmaps._.default.after"));
  EXPECT_TRUE(active->active());
}

TEST_F(RelayTest, OneIsActiveAndAnotherTakesOverWhereItStopped) {
  auto first = relay("a"), second = relay("b");
  make("one");
  EXPECT_THAT(take(), ElementsAre("gantry.events.configmaps._.default.one"));
  EXPECT_FALSE(second->active());
  first.reset();
  make("two");
  EXPECT_THAT(take(), IsEmpty());
  g.loop.advance(seconds(8));
  EXPECT_TRUE(second->active());
  EXPECT_THAT(take(), ElementsAre("gantry.events.configmaps._.default.two"));
}

TEST_F(RelayTest, AnotherTakesOverAsSoonAsTheLeaseHasRunOut) {
  auto first = relay("a"), second = relay("b");
  g.loop.drain();
  first.reset();
  g.loop.advance(milliseconds(4900));
  EXPECT_FALSE(second->active());
  g.loop.advance(milliseconds(400));
  EXPECT_TRUE(second->active());
}

TEST_F(RelayTest, AnnouncesTheHeadsOfActiveChains) {
  auto active = relay("a");
  const uint64_t revision = make("one");
  g.loop.advance(seconds(2));
  EXPECT_EQ(heads["gantry.heads.configmaps.all"], revision);
  EXPECT_EQ(heads["gantry.heads.configmaps.namespace.default"], revision);
  EXPECT_EQ(heads["gantry.heads.configmaps.node._"], revision);
  g.loop.advance(seconds(70));
  heads.clear();
  g.loop.advance(seconds(2));
  EXPECT_THAT(heads, IsEmpty()) << "quiet chains are not announced";
}

TEST_F(RelayTest, WhatTheBusDidNotConfirmIsPublishedAgain) {
  auto active = relay("a");
  make("one");
  take();
  bus->set_connected(false);
  make("two");
  g.loop.advance(seconds(1));
  EXPECT_THAT(take(), IsEmpty());
  bus->set_connected(true);
  g.loop.advance(seconds(1));
  const Lines all = take();
  ASSERT_FALSE(all.empty());
  for (const auto& subject : all) EXPECT_EQ(subject, "gantry.events.configmaps._.default.two");
}

TEST_F(RelayTest, ADependencyIsAnnouncedOnItsNodes) {
  auto active = relay("a");
  auto pod = TestGateway::pod("web");
  pod["spec"]["volumes"] = {{{"name", "v"}, {"configMap", {{"name", "settings"}}}}};
  ASSERT_TRUE(g.create("pods", "default", pod).ok());
  ASSERT_TRUE(g.bind("default", "web", "n1").ok());
  make("settings");
  EXPECT_THAT(take(), ElementsAre("gantry.events.configmaps._.default.settings",
                                  "gantry.events.configmaps.n1.default.settings"));
}

TEST_F(RelayTest, AStoreThatLostItsTailShowsInTheHeads) {
  g.store.set_replica_lag(2);  // the last commit and the cursor behind it
  auto active = relay("a");
  const uint64_t kept = make("kept");
  make("lost");
  g.store.promote_replica();
  g.loop.advance(seconds(7));
  EXPECT_EQ(heads["gantry.heads.configmaps.all"], kept);
  take();
  make("new");
  EXPECT_THAT(take(), ElementsAre("gantry.events.configmaps._.default.new"));
}

TEST_F(RelayTest, ANewOneAnnouncesAllHeadsThoughTheStoreFailsAtFirst) {
  auto first = relay("a");
  const uint64_t revision = make("one");
  g.loop.advance(seconds(2));
  first.reset();
  heads.clear();
  auto second = relay("b");
  size_t kinds = 0, calls = 0;
  for (const auto& kind : model::Schema::get().kinds()) kinds += model::stored(kind) ? 1 : 0;
  g.store.set_fault([&] {  // the cursors are read, what comes then fails
    if (!second->active() || ++calls <= kinds || calls > 3 * kinds) return state::testing::MemoryStore::Fault::kNone;
    return state::testing::MemoryStore::Fault::kLostBefore;
  });
  g.loop.advance(seconds(10));
  ASSERT_TRUE(second->active());
  EXPECT_GT(calls, 3 * kinds);
  EXPECT_EQ(heads["gantry.heads.configmaps.namespace.default"], revision);
}

TEST_F(RelayTest, ALateAnswerOfTheStoreIsNoLostTail) {
  auto active = relay("a");
  make("one");
  g.loop.advance(std::chrono::milliseconds(4900));
  g.store.set_delay([] { return Duration(std::chrono::milliseconds(300)); });  // the look at the heads takes long
  g.loop.advance(std::chrono::milliseconds(450));
  g.store.set_delay(nullptr);
  make("two");
  take();
  g.loop.advance(seconds(3));
  EXPECT_THAT(take(), IsEmpty()) << "published again";
}

}  // namespace
}  // namespace gantry::apigw::testing
