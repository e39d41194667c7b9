#include "libs/bus/session.h"

#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/testing/fake_bus.h"

namespace gantry::bus {
namespace {

using gantry::testing::FakeBus;
using gantry::testing::FakeNetwork;
using gantry::testing::ManualLoop;
using node::Channel;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct SessionTest : ::testing::Test {
  /// One side, with all that it was told.
  struct Side {
    std::unique_ptr<Session> session;
    std::map<Channel, std::string> data;
    std::vector<Channel> ends;
    std::optional<SessionEnd> closed;
    int writable = 0;
    bool consume = true;
    Session::Callbacks callbacks() {
      return {.data =
                  [this](Channel channel, std::string_view bytes, bool end) {
                    data[channel] += bytes;
                    if (end) ends.push_back(channel);
                    if (consume) session->consume(bytes.size());
                  },
              .closed =
                  [this](const SessionEnd& end) {
                    EXPECT_FALSE(closed);
                    closed = end;
                  },
              .writable = [this] { ++writable; }};
    }
  };

  void accept() {
    acceptor = accept_sessions(loop, *agent, "n1", [this](SessionAcceptor::Offer offer) {
      ++offers;
      request = offer.request;
      node.session = offer.accept(node.callbacks());
    });
  }
  Code open(SessionRequest r = {}) {
    Code code = Code::kInternal;
    open_session(loop, *apigw, "n1", r, gateway.callbacks(), [&](Result<std::unique_ptr<Session>> result) {
      code = result.code();
      if (result) gateway.session = std::move(*result);
    });
    loop.drain();
    if (code == Code::kInternal) loop.advance(seconds(11));
    return code;
  }

  ManualLoop loop;
  FakeNetwork network{loop};
  std::unique_ptr<FakeBus> apigw = network.connect("apigw", apigw_permissions()),
                           agent = network.connect("node-n1", node_permissions("n1"));
  std::unique_ptr<Subscription> acceptor;
  Side gateway, node;
  SessionRequest request;
  int offers = 0;
};

TEST_F(SessionTest, ARequestArrivesWhole) {
  accept();
  SessionRequest r;
  r.kind = node::SessionKind::Exec, r.ns = "ns", r.pod = "p", r.uid = "u", r.container = "c",
  r.command = {"sh", "-c", ""};
  r.in = true, r.out = false, r.err = true, r.tty = true, r.follow = true, r.previous = true, r.timestamps = true;
  r.tail_lines = 0, r.since_time = 5, r.limit_bytes = 7, r.port = 80;
  ASSERT_EQ(open(r), Code::kOk);
  EXPECT_EQ(std::tie(r.kind, r.ns, r.pod, r.uid, r.container, r.command, r.in, r.out, r.err, r.tty, r.follow,
                     r.previous, r.timestamps),
            std::tie(request.kind, request.ns, request.pod, request.uid, request.container, request.command, request.in,
                     request.out, request.err, request.tty, request.follow, request.previous, request.timestamps));
  EXPECT_EQ(std::tie(r.tail_lines, r.since_seconds, r.since_time, r.limit_bytes, r.port),
            std::tie(request.tail_lines, request.since_seconds, request.since_time, request.limit_bytes, request.port));
}

TEST_F(SessionTest, DataGoesBothWaysAndEndsInOrder) {
  accept();
  ASSERT_EQ(open(), Code::kOk);
  EXPECT_TRUE(gateway.session->write(Channel::Stdin, "hello "));
  EXPECT_TRUE(gateway.session->write(Channel::Stdin, "world"));
  gateway.session->end(Channel::Stdin);
  loop.drain();
  EXPECT_EQ(node.data[Channel::Stdin], "hello world");
  EXPECT_EQ(node.ends, std::vector{Channel::Stdin});
  node.session->write(Channel::Stdout, "out");
  node.session->write(Channel::Stderr, "err");
  node.session->close({.exit_code = 3});
  loop.drain();
  EXPECT_EQ(gateway.data[Channel::Stdout] + gateway.data[Channel::Stderr], "outerr");
  ASSERT_TRUE(gateway.closed && node.closed);
  EXPECT_EQ(gateway.closed->exit_code, 3);
  EXPECT_EQ(gateway.closed->error, "");
  EXPECT_EQ(agent->violations().size() + apigw->violations().size(), 0u);
}

TEST_F(SessionTest, ASlowReaderHoldsTheSender) {
  accept();
  ASSERT_EQ(open(), Code::kOk);
  gateway.consume = false;
  std::string chunk(100'000, 'x');
  size_t written = 0;
  while (node.session->write(Channel::Stdout, chunk)) written += chunk.size();
  written += chunk.size();
  loop.drain();
  EXPECT_EQ(gateway.data[Channel::Stdout].size(), 1u << 20);  // the window
  EXPECT_EQ(node.session->queued(), written - (1u << 20));
  loop.advance(seconds(60));  // pings keep it open
  EXPECT_FALSE(node.closed);
  gateway.consume = true;
  gateway.session->consume(1 << 20);
  loop.drain();
  EXPECT_EQ(gateway.data[Channel::Stdout].size(), written);
  EXPECT_EQ(node.writable, 1);
}

TEST_F(SessionTest, AnEndThatTheBusRefusesDoesNotSwallowWritable) {
  accept();
  ASSERT_EQ(open(), Code::kOk);
  gateway.consume = false;
  while (node.session->write(Channel::Stdout, std::string(100'000, 'x'))) {
  }
  loop.drain();
  gateway.session->consume(1 << 20);
  loop.post([&] {  // the credit has come, writable() is on its way
    agent->set_connected(false);
    while (agent->publish("gantry.node.n1.up.stats", std::string(1 << 20, 'x'))) {
    }
    while (agent->publish("gantry.node.n1.up.stats", std::string(16, 'x'))) {
    }
    node.session->end(Channel::Stderr);
  });
  loop.drain();
  EXPECT_EQ(node.writable, 0);
  agent->set_connected(true);
  loop.advance(milliseconds(100));
  EXPECT_EQ(node.ends.size() + gateway.ends.size(), 1u);
  EXPECT_EQ(node.writable, 1);
}

TEST_F(SessionTest, WhatWaitsIsBounded) {
  accept();
  ASSERT_EQ(open(), Code::kOk);
  gateway.consume = false;
  for (int i = 0; i < 100; ++i) node.session->write(Channel::Stdout, std::string(100'000, 'x'));
  EXPECT_LE(node.session->queued(), 4u << 20);
  loop.drain();
  ASSERT_TRUE(node.closed && gateway.closed);
  EXPECT_NE(gateway.closed->error.find("too slow"), std::string::npos);
}

TEST_F(SessionTest, ALostFrameEndsItOnBothSides) {
  accept();
  ASSERT_EQ(open(), Code::kOk);
  network.set_faults({.drop = 1, .only = [](std::string_view s) { return s.ends_with(".out"); }});
  node.session->write(Channel::Stdout, "lost");
  loop.drain();
  network.set_faults({});
  node.session->write(Channel::Stdout, "next");
  loop.drain();
  ASSERT_TRUE(gateway.closed && node.closed);
  EXPECT_NE(gateway.closed->error.find("lost"), std::string::npos);
  EXPECT_EQ(gateway.data[Channel::Stdout], "");
}

TEST_F(SessionTest, ALostLastFrameIsFoundByThePing) {
  accept();
  ASSERT_EQ(open(), Code::kOk);
  network.set_faults({.drop = 1});
  node.session->write(Channel::Stdout, "tail");
  loop.drain();
  network.set_faults({});
  loop.advance(seconds(11));
  EXPECT_TRUE(gateway.closed && !gateway.closed->error.empty());
}

TEST_F(SessionTest, AReconnectShowsWhatWasLostAtOnce) {
  accept();
  ASSERT_EQ(open(), Code::kOk);
  apigw->set_connected(false);
  node.session->write(Channel::Stdout, "missed");
  loop.drain();
  apigw->set_connected(true);
  agent->set_connected(false);
  agent->set_connected(true);
  loop.drain();
  ASSERT_TRUE(gateway.closed);
  EXPECT_NE(gateway.closed->error, "");
}

TEST_F(SessionTest, DoubledFramesAndRequestsCountOnce) {
  accept();
  network.set_faults({.duplicate = 1});
  ASSERT_EQ(open(), Code::kOk);
  for (int i = 0; i < 100; ++i) node.session->write(Channel::Stdout, std::to_string(i % 10));
  node.session->close({});
  loop.drain();
  EXPECT_EQ(offers, 1);
  EXPECT_EQ(gateway.data[Channel::Stdout].size(), 100u);
  EXPECT_TRUE(gateway.closed && gateway.closed->error.empty());
}

TEST_F(SessionTest, AVanishedPeerIsNoticed) {
  accept();
  ASSERT_EQ(open(), Code::kOk);
  agent->set_connected(false);
  loop.advance(seconds(45));
  ASSERT_TRUE(gateway.closed && node.closed);
  EXPECT_NE(gateway.closed->error.find("gone"), std::string::npos);
}

TEST_F(SessionTest, DestroyingItTellsThePeer) {
  accept();
  ASSERT_EQ(open(), Code::kOk);
  gateway.session.reset();
  loop.drain();
  ASSERT_TRUE(node.closed);
  EXPECT_EQ(node.closed->error, "gone");
  EXPECT_FALSE(gateway.closed);
}

TEST_F(SessionTest, ItMayBeDestroyedInItsCallbacks) {
  acceptor = accept_sessions(loop, *agent, "n1", [this](SessionAcceptor::Offer offer) {
    node.session = offer.accept({.data = [this](Channel, std::string_view, bool) { node.session.reset(); }});
  });
  ASSERT_EQ(open(), Code::kOk);
  gateway.session->write(Channel::Stdin, "x");
  gateway.session->write(Channel::Stdin, "y");
  loop.drain();
  EXPECT_TRUE(gateway.closed);
}

TEST_F(SessionTest, NoAgentARefusalALostAnswer) {
  EXPECT_EQ(open(), Code::kUnavailable);
  acceptor = accept_sessions(loop, *agent, "n1", [](SessionAcceptor::Offer offer) {
    offer.refuse({Code::kNotFound, "no such pod"});
  });
  EXPECT_EQ(open(), Code::kNotFound);
  accept();
  network.set_faults({.drop = 1, .only = [](std::string_view s) { return s.starts_with("_INBOX"); }});
  EXPECT_EQ(open(), Code::kUnavailable);
  network.set_faults({});
  loop.drain();
  EXPECT_TRUE(node.closed);  // the gateway disowned it
}

TEST_F(SessionTest, GarbageAndCreditBeyondTheWindowEndIt) {
  accept();
  ASSERT_EQ(open(), Code::kOk);
  std::string subject;
  auto spy = apigw->subscribe("gantry.session.n1.*.out", "", [&](const Message& m) { subject = m.subject; });
  node.session->write(Channel::Stdout, "x");
  loop.drain();
  ASSERT_TRUE(apigw->publish(subject, "garbage"));
  loop.drain();
  EXPECT_TRUE(gateway.closed);
}

}  // namespace
}  // namespace gantry::bus
