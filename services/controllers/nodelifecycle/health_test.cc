#include "services/controllers/nodelifecycle/health.h"

#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/testing/fake_bus.h"
#include "schemas/node_generated.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;

std::string beat(std::string_view node, uint64_t epoch, uint64_t sequence) {
  flatbuffers::FlatBufferBuilder b;
  auto name = b.CreateString(node.data(), node.size());
  b.Finish(node::CreateHeartbeat(b, name, epoch, sequence, 0, true));
  return {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()};
}

struct HeartbeatTest : ::testing::Test {
  void hear(std::string_view node, uint64_t epoch, uint64_t sequence) {
    ASSERT_TRUE(agent->publish("gantry.node.n1.up.heartbeat", beat(node, epoch, sequence)).ok());
    loop.advance(1ms);
  }
  gantry::testing::ManualLoop loop;
  gantry::testing::FakeNetwork network{loop};
  std::unique_ptr<gantry::testing::FakeBus> agent = network.connect("node-n1"), bus = network.connect("controllers");
  NodeHealth health{loop, 40s};
  HeartbeatListener listener{*bus, health};
};

TEST_F(HeartbeatTest, TheSubjectSaysWhoSpeaks) {
  loop.advance(10s);
  hear("somebody-else", 1, 1);
  EXPECT_NE(health.fresh("n1"), nullptr);
  EXPECT_EQ(health.fresh("somebody-else"), nullptr);
}

TEST_F(HeartbeatTest, OldAndMalformedBeatsAreDropped) {
  hear("n1", 2, 5);
  loop.advance(10s);
  hear("n1", 1, 99);  // of the agent's earlier life, delivered late
  hear("n1", 2, 5);
  ASSERT_TRUE(agent->publish("gantry.node.n1.up.heartbeat", "\x01\x02\x03").ok());
  loop.advance(1ms);
  EXPECT_GE(health.silence("n1"), 10s);
  hear("n1", 3, 1);
  EXPECT_LT(health.silence("n1"), 1s);
}

TEST_F(HeartbeatTest, ANodeThatReturnsIsTold) {
  std::vector<std::string> returned;
  health.on_return([&](const std::string& node) { returned.push_back(node); });
  hear("n1", 1, 1);
  loop.advance(41s);
  EXPECT_TRUE(health.missing("n1"));
  hear("n1", 1, 2);
  EXPECT_FALSE(health.missing("n1"));
  EXPECT_EQ(returned, (std::vector<std::string>{"n1"}));
}

}  // namespace
}  // namespace gantry::controllers
