#include "libs/usage/usage_board.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "libs/base/ids.h"
#include "libs/base/testing/manual_loop.h"
#include "libs/bus/testing/fake_bus.h"
#include "schemas/node_generated.h"

namespace gantry::usage {
namespace {

using std::chrono::seconds;

constexpr uint64_t kSecond = 1'000'000'000, kMiB = 1 << 20;

struct Said {
  std::string uid, container;
  uint64_t cpu = 0, memory = 0;
};

class UsageBoardTest : public ::testing::Test {
 protected:
  void say(const std::string& node, int at_second, std::vector<Said> containers, uint64_t cpu = 0) {
    flatbuffers::FlatBufferBuilder b;
    std::vector<flatbuffers::Offset<node::PodStats>> pods;
    for (const auto& c : containers) {
      auto one = node::CreateContainerStats(b, b.CreateString(c.container), node::CreateUsage(b, c.cpu, c.memory, 0));
      pods.push_back(node::CreatePodStats(b, b.CreateString("default"), b.CreateString("p"), b.CreateString(c.uid),
                                          b.CreateVector(std::vector{one})));
    }
    b.Finish(node::CreateStats(b, b.CreateString("another"), at_second * 1'000'000LL,
                               node::CreateUsage(b, cpu, 5 * kMiB, 0), b.CreateVector(pods)));
    publish(node, {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()});
  }
  void publish(const std::string& node, std::string_view data) {
    ASSERT_TRUE(agents_->publish(fmt::format("gantry.node.{}.up.stats", encode_token(node)), data).ok());
    loop_.drain();
  }
  uint64_t cpu_of(const std::string& uid) {
    auto pod = board_.pod(uid);
    return pod ? pod->containers.at(0).second.cpu_nanocores : 0;
  }

  gantry::testing::ManualLoop loop_;
  gantry::testing::FakeNetwork net_{loop_};
  std::unique_ptr<gantry::testing::FakeBus> agents_ = net_.connect("agents"),
                                            gateway_ = net_.connect("apigw", bus::apigw_permissions());
  UsageBoard board_{loop_, *gateway_};
};

TEST_F(UsageBoardTest, ARateNeedsTwoReportsAndIsTheMeanOfItsWindow) {
  say("n.1", 100, {{"u1", "app", 10 * kSecond, kMiB}}, 100 * kSecond);
  EXPECT_FALSE(board_.pod("u1"));
  EXPECT_FALSE(board_.node("n.1"));
  say("n.1", 110, {{"u1", "app", 12 * kSecond, 3 * kMiB}}, 115 * kSecond);
  auto pod = board_.pod("u1");
  ASSERT_TRUE(pod);
  EXPECT_EQ(pod->node, "n.1");
  EXPECT_EQ(pod->time, 110'000'000);
  EXPECT_EQ(pod->window, seconds(10));
  ASSERT_EQ(pod->containers.size(), 1U);
  EXPECT_EQ(pod->containers[0].first, "app");
  EXPECT_EQ(pod->containers[0].second.cpu_nanocores, kSecond / 5);
  EXPECT_EQ(pod->containers[0].second.memory_working_set, 3 * kMiB);
  EXPECT_EQ(board_.node("n.1")->usage.cpu_nanocores, 3 * kSecond / 2);
  EXPECT_EQ(board_.node("n.1")->usage.memory_working_set, 5 * kMiB);
  // The first report leaves the window of 15 s, as soon as another one is old enough to begin it.
  say("n.1", 120, {{"u1", "app", 12 * kSecond, kMiB}});
  EXPECT_EQ(cpu_of("u1"), kSecond / 10);
  say("n.1", 125, {{"u1", "app", 12 * kSecond, kMiB}});
  EXPECT_EQ(cpu_of("u1"), 0U);
  EXPECT_EQ(board_.pod("u1")->window, seconds(15));
}

TEST_F(UsageBoardTest, AContainerThatStartedAgainIsMeasuredAnew) {
  say("n1", 100, {{"u1", "app", 50 * kSecond, kMiB}});
  say("n1", 105, {{"u1", "app", 55 * kSecond, kMiB}});
  EXPECT_EQ(cpu_of("u1"), kSecond);
  say("n1", 110, {{"u1", "app", kSecond, kMiB}});
  EXPECT_FALSE(board_.pod("u1"));
  say("n1", 115, {{"u1", "app", 2 * kSecond, kMiB}});
  EXPECT_EQ(cpu_of("u1"), kSecond / 5);
  // A report twice, or one that was overtaken.
  say("n1", 115, {{"u1", "app", 2 * kSecond, kMiB}});
  EXPECT_FALSE(board_.pod("u1"));
}

TEST_F(UsageBoardTest, WhatIsNotSaidAnyMoreIsForgotten) {
  for (int at : {100, 105}) {
    say("n1", at, {{"u1", "app", at * kSecond, kMiB}, {"u2", "app", at * kSecond, kMiB}});
    say("n2", at, {{"u3", "app", at * kSecond, kMiB}});
  }
  ASSERT_TRUE(board_.pod("u1") && board_.pod("u2") && board_.pod("u3"));
  say("n1", 110, {{"u2", "app", 110 * kSecond, kMiB}});
  EXPECT_FALSE(board_.pod("u1"));
  EXPECT_TRUE(board_.pod("u2"));
  loop_.advance(seconds(50));
  say("n1", 160, {{"u2", "app", 160 * kSecond, kMiB}});
  loop_.advance(seconds(30));
  EXPECT_TRUE(board_.node("n1"));
  EXPECT_TRUE(board_.pod("u2"));
  EXPECT_FALSE(board_.node("n2"));
  EXPECT_FALSE(board_.pod("u3"));
}

TEST_F(UsageBoardTest, APodThatMovedIsNotForgottenWithItsOldNode) {
  for (int at : {100, 105}) say("n1", at, {{"u1", "app", at * kSecond, kMiB}});
  say("n2", 110, {{"u1", "app", 110 * kSecond, kMiB}});
  say("n1", 110, {});
  ASSERT_TRUE(board_.pod("u1"));
  EXPECT_EQ(board_.pod("u1")->node, "n2");
}

TEST_F(UsageBoardTest, NonsenseIsIgnored) {
  publish("n1", "");
  publish("n1", "not a buffer at all, and longer than one");
  EXPECT_FALSE(board_.node("n1"));
}

}  // namespace
}  // namespace gantry::usage
