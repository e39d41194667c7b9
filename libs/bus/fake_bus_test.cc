#include "libs/bus/testing/fake_bus.h"

#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/subject.h"

namespace gantry::bus {
namespace {

using gantry::testing::FakeNetwork;
using gantry::testing::ManualLoop;
using std::chrono::milliseconds;

TEST(Subject, MatchesTokensAndWildcards) {
  EXPECT_TRUE(subject_matches("a.*.c", "a.b.c"));
  EXPECT_TRUE(subject_matches("a.>", "a.b.c"));
  EXPECT_TRUE(subject_matches(">", "a"));
  EXPECT_FALSE(subject_matches("a.>", "a"));
  EXPECT_FALSE(subject_matches("a.*", "a.b.c"));
  EXPECT_FALSE(subject_matches("a.b", "a.bc"));
  EXPECT_TRUE(pattern_covers("a.>", "a.*.c"));
  EXPECT_TRUE(pattern_covers("a.>", "a.>"));
  EXPECT_FALSE(pattern_covers("a.b.>", "a.*.c"));
  EXPECT_FALSE(pattern_covers("a.*", "a.>"));
  EXPECT_TRUE(patterns_overlap("a.*.c", "a.b.*"));
  EXPECT_FALSE(patterns_overlap("a.b.*", "a.c.>"));
  EXPECT_EQ(inbox_prefix("node-a.b"), "_INBOX.node-a%2Eb");
}

TEST(FakeBus, DeliversByPatternAfterTheCall) {
  ManualLoop loop;
  FakeNetwork network(loop);
  auto a = network.connect("a"), b = network.connect("b");
  std::vector<std::string> seen;
  auto all = b->subscribe("x.>", "", [&](const Message& m) { seen.push_back("all:" + std::string(m.data)); });
  auto one = b->subscribe("x.*.z", "", [&](const Message& m) { seen.push_back("one:" + std::string(m.data)); });
  ASSERT_TRUE(a->publish("x.y.z", "1"));
  ASSERT_TRUE(a->publish("x.y", "2"));
  EXPECT_TRUE(seen.empty());
  loop.drain();
  EXPECT_EQ(seen, (std::vector<std::string>{"all:1", "one:1", "all:2"}));
  ASSERT_TRUE(a->publish("x.y.z", "3"));
  all.reset();  // also for what is under way
  loop.drain();
  EXPECT_EQ(seen.back(), "one:3");
  EXPECT_EQ(seen.size(), 4u);
}

TEST(FakeBus, QueueGroupsShare) {
  ManualLoop loop;
  FakeNetwork network(loop);
  auto a = network.connect("a"), b = network.connect("b");
  int first = 0, second = 0;
  auto s1 = a->subscribe("work", "q", [&](const Message&) { ++first; });
  auto s2 = b->subscribe("work", "q", [&](const Message&) { ++second; });
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(a->publish("work", ""));
  loop.drain();
  EXPECT_EQ(first + second, 100);
  EXPECT_GT(first, 20);
  EXPECT_GT(second, 20);
}

TEST(FakeBus, RequestsAreAnsweredTimeOutOrFindNobody) {
  ManualLoop loop;
  FakeNetwork network(loop);
  auto a = network.connect("a"), b = network.connect("b");
  std::vector<Code> codes;
  std::string answer;
  auto done = [&](Result<std::string> r) {
    codes.push_back(r.code());
    if (r) answer = *r;
  };
  a->request("echo", "hi", milliseconds(100), done);
  loop.drain();
  EXPECT_EQ(codes, std::vector{Code::kUnavailable});
  auto echo = b->subscribe("echo", "", [&](const Message& m) {
    EXPECT_TRUE(m.reply.starts_with("_INBOX.a."));
    (void)b->publish(m.reply, std::string(m.data) + "!");
  });
  auto deaf = b->subscribe("deaf", "", [](const Message&) {});
  a->request("echo", "hi", milliseconds(100), done);
  a->request("deaf", "hi", milliseconds(100), done);
  loop.advance(milliseconds(99));
  EXPECT_EQ(answer, "hi!");
  EXPECT_EQ(codes.size(), 2u);
  loop.advance(milliseconds(1));
  EXPECT_EQ(codes.back(), Code::kTimeout);
  bool flushed = false;
  a->flush([&](Status s) { flushed = s.ok(); });
  loop.drain();
  EXPECT_TRUE(flushed);
}

TEST(FakeBus, ADisconnectedEndpointMissesMessagesAndSendsLater) {
  ManualLoop loop;
  FakeNetwork network(loop);
  auto a = network.connect("a"), b = network.connect("b");
  std::vector<std::string> seen;
  std::vector<bool> changes;
  auto sub = b->subscribe("x", "", [&](const Message& m) { seen.emplace_back(m.data); });
  auto watch = b->on_connection([&](bool up) { changes.push_back(up); });
  ASSERT_TRUE(a->publish("x", "under way"));
  b->set_connected(false);
  ASSERT_TRUE(a->publish("x", "missed"));
  ASSERT_TRUE(b->publish("x", "own"));
  loop.drain();
  b->set_connected(true);
  ASSERT_TRUE(a->publish("x", "back"));
  loop.drain();
  EXPECT_EQ(seen, (std::vector<std::string>{"own", "back"}));
  EXPECT_EQ(changes, (std::vector<bool>{false, true}));
}

TEST(FakeBus, PermissionsHold) {
  ManualLoop loop;
  FakeNetwork network(loop);
  auto apigw = network.connect("apigw", apigw_permissions());
  auto n1 = network.connect("node-n1", node_permissions("n1"));
  auto n2 = network.connect("node-n2", node_permissions("n2"));
  int seen = 0;
  auto count = [&](const Message&) { ++seen; };
  auto s1 = n2->subscribe("gantry.events.pods.n1.>", "", count);
  auto s2 = n2->subscribe("_INBOX.node-n1.>", "", count);
  auto s3 = n2->subscribe("gantry.>", "", count);
  auto s4 = n2->subscribe("gantry.session.*.*.in", "", count);
  EXPECT_EQ(n2->violations().size(), 4u);
  ASSERT_TRUE(apigw->publish("gantry.events.pods.n1.ns.p", ""));
  loop.drain();
  EXPECT_EQ(seen, 0);
  ASSERT_TRUE(n2->publish("gantry.events.pods.n2.ns.p", ""));
  ASSERT_TRUE(n2->publish("gantry.cmd.node-n1.get", ""));
  EXPECT_EQ(n2->violations().size(), 6u);

  // An answer to a request is allowed, once.
  std::string answer;
  auto down = n1->subscribe("gantry.node.n1.down.session", "", [&](const Message& m) {
    (void)n1->publish(m.reply, "yes");
    (void)n1->publish(m.reply, "again");
  });
  apigw->request("gantry.node.n1.down.session", "", milliseconds(10), [&](Result<std::string> r) { answer = *r; });
  loop.drain();
  EXPECT_EQ(answer, "yes");
  EXPECT_EQ(n1->violations().size(), 1u);
}

TEST(FakeBus, FaultsAreSeeded) {
  auto run = [](uint64_t seed) {
    ManualLoop loop;
    FakeNetwork network(loop, seed);
    network.set_faults({.drop = 0.3, .duplicate = 0.3, .max_delay = milliseconds(10)});
    auto a = network.connect("a");
    std::string seen;
    auto sub = a->subscribe("x", "", [&](const Message& m) { seen += std::string(m.data) + " "; });
    for (int i = 0; i < 50; ++i) (void)a->publish("x", std::to_string(i));
    loop.advance(milliseconds(20));
    return seen;
  };
  EXPECT_EQ(run(7), run(7));
  EXPECT_NE(run(7), run(8));
}

}  // namespace
}  // namespace gantry::bus
