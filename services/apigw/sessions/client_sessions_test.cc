#include "services/apigw/sessions/client_sessions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/bus/testing/fake_bus.h"
#include "services/apigw/core/testing/test_gateway.h"

namespace gantry::apigw::testing {
namespace {

using gantry::testing::FakeBus;
using node::Channel;
using ::testing::HasSubstr;

class ClientSessionsTest : public ::testing::Test {
 protected:
  struct Side {
    std::unique_ptr<bus::Session> session;
    std::map<Channel, std::string> data;
    std::vector<Channel> ends;
    std::optional<bus::SessionEnd> closed;
    int writable = 0;
    bool consume = true;
    bus::Session::Callbacks callbacks() {
      return {.data =
                  [this](Channel channel, std::string_view bytes, bool end) {
                    data[channel] += bytes;
                    if (end) ends.push_back(channel);
                    if (consume && session) session->consume(bytes.size());
                  },
              .closed = [this](const bus::SessionEnd& end) { closed = end; },
              .writable = [this] { ++writable; }};
    }
  };

  void SetUp() override {
    EXPECT_TRUE(g.create("pods", "default", TestGateway::pod("web")).ok());
    EXPECT_TRUE(g.bind("default", "web", "n1").ok());
    EXPECT_TRUE(g.create("pods", "default", TestGateway::pod("waits")).ok());
    accept();
  }
  void accept() {
    acceptor = bus::accept_sessions(g.loop, *agent, "n1", [this](bus::SessionAcceptor::Offer offer) {
      request = offer.request;
      node.session = offer.accept(node.callbacks());
    });
  }
  Status open(bus::SessionRequest r, FakeBus& from, const std::string& identity) {
    std::optional<Status> status;
    bus::open_client_session(g.loop, from, identity, r, client.callbacks(),
                             [&](Result<std::unique_ptr<bus::Session>> opened) {
                               if (!opened.ok()) {
                                 status = opened.error();
                                 return;
                               }
                               client.session = std::move(*opened);
                               status = Done{};
                             });
    g.loop.run_until([&] { return status.has_value(); }, std::chrono::seconds(30));
    return status ? *status : Status(Error{Code::kInternal, "no answer"});
  }
  Status open(bus::SessionRequest r) { return open(std::move(r), *ann, "admin"); }
  static bus::SessionRequest exec(const std::string& pod = "web") {
    bus::SessionRequest r;
    r.kind = node::SessionKind::Exec;
    r.ns = "default", r.pod = pod, r.command = {"cat"}, r.in = true;
    r.uid = "made up";
    return r;
  }

  TestGateway g;
  gantry::testing::FakeNetwork network{g.loop};
  std::unique_ptr<FakeBus> gateway = network.connect("apigw", bus::apigw_permissions()),
                           agent = network.connect("node-n1", bus::node_permissions("n1")),
                           ann = network.connect("admin", bus::operator_permissions("admin"));
  ClientSessions sessions{g.loop, *g.api, *gateway, 2};
  std::unique_ptr<bus::Subscription> acceptor;
  Side client, node;
  bus::SessionRequest request;
};

TEST_F(ClientSessionsTest, ExecGoesThereAndBackWithItsExitCode) {
  ASSERT_TRUE(open(exec()).ok());
  EXPECT_EQ(request.command, std::vector<std::string>{"cat"});
  EXPECT_EQ(request.container, "main");
  EXPECT_EQ(request.uid, g.stored("pods", "default", "web")["metadata"]["uid"]);
  client.session->write(Channel::Stdin, "hello");
  client.session->end(Channel::Stdin);
  g.loop.drain();
  EXPECT_EQ(node.data[Channel::Stdin], "hello");
  EXPECT_EQ(node.ends, std::vector{Channel::Stdin});
  node.session->write(Channel::Stdout, "out");
  node.session->write(Channel::Stderr, "err");
  node.session->close({.exit_code = 7});
  g.loop.drain();
  EXPECT_EQ(client.data[Channel::Stdout] + client.data[Channel::Stderr], "outerr");
  ASSERT_TRUE(client.closed);
  EXPECT_EQ(client.closed->exit_code, 7);
  EXPECT_EQ(client.closed->error, "");
  EXPECT_EQ(sessions.open(), 0u);
  EXPECT_EQ(ann->violations().size() + gateway->violations().size() + agent->violations().size(), 0u);
}

TEST_F(ClientSessionsTest, RefusedAsOverHttp) {
  EXPECT_EQ(open(exec("none")).code(), Code::kNotFound);
  EXPECT_THAT(open(exec("waits")).error().message, HasSubstr("does not have a host assigned"));
  auto empty = exec();
  empty.command.clear();
  EXPECT_EQ(open(empty).code(), Code::kBadRequest);
  auto bob = network.connect("bob", bus::operator_permissions("bob"));
  EXPECT_THAT(open(exec(), *bob, "bob").error().message,
              HasSubstr("User \"bob\" cannot create resource \"pods/exec\" in API group \"\" in the namespace"));
  acceptor = bus::accept_sessions(g.loop, *agent, "n1", [](bus::SessionAcceptor::Offer offer) {
    offer.refuse({Code::kNotFound, "no such container"});
  });
  EXPECT_EQ(open(exec()).error().message, "no such container");
  acceptor.reset();
  EXPECT_EQ(open(exec()).code(), Code::kUnavailable);
  g.loop.drain();
  EXPECT_EQ(sessions.open(), 0u);
}

TEST_F(ClientSessionsTest, ASlowReaderHoldsTheNodeAndTenMegabytesArriveWhole) {
  ASSERT_TRUE(open(exec()).ok());
  client.consume = false;
  std::string all;
  for (int i = 0; all.size() < 10'000'000; ++i) all += std::to_string(i) + "\n";
  size_t written = 0;
  auto write_more = [&] {
    while (written < all.size()) {
      auto piece = std::string_view(all).substr(written, 100'000);
      written += piece.size();
      if (!node.session->write(Channel::Stdout, piece)) break;
    }
  };
  write_more();
  g.loop.drain();
  EXPECT_LT(written, 3'000'000u);  // a window for each of the two sessions, and what waits
  g.loop.advance(std::chrono::seconds(60));
  EXPECT_FALSE(client.closed || node.closed);
  size_t consumed = 0;
  auto& got = client.data[Channel::Stdout];
  for (int round = 0; round < 1000 && got.size() < all.size(); ++round) {
    client.session->consume(got.size() - std::exchange(consumed, got.size()));
    g.loop.drain();
    write_more();
    g.loop.drain();
  }
  node.session->close({.exit_code = 0});
  g.loop.drain();
  EXPECT_TRUE(client.data[Channel::Stdout] == all);
  ASSERT_TRUE(client.closed);
  EXPECT_EQ(client.closed->error, "");
}

TEST_F(ClientSessionsTest, MuchInputGoesAsSlowlyAsTheNodeTakesIt) {
  ASSERT_TRUE(open(exec()).ok());
  node.consume = false;
  while (client.session->write(Channel::Stdin, std::string(100'000, 'x'))) {
  }
  g.loop.drain();
  EXPECT_EQ(node.data[Channel::Stdin].size(), 1u << 20);
  EXPECT_FALSE(client.closed);
  node.consume = true;
  node.session->consume(1 << 20);
  g.loop.drain();
  EXPECT_GE(client.writable, 1);
}

TEST_F(ClientSessionsTest, EitherSidesDeathIsToldToTheOther) {
  ASSERT_TRUE(open(exec()).ok());
  client.session.reset();
  g.loop.drain();
  ASSERT_TRUE(node.closed);
  EXPECT_EQ(sessions.open(), 0u);
  node.closed.reset();
  ASSERT_TRUE(open(exec()).ok());
  node.session.reset();
  g.loop.drain();
  ASSERT_TRUE(client.closed);
  EXPECT_EQ(client.closed->error, "gone");
  EXPECT_EQ(sessions.open(), 0u);
}

TEST_F(ClientSessionsTest, TheirNumberIsBounded) {
  ASSERT_TRUE(open(exec()).ok());
  auto first = std::move(client.session), held = std::move(node.session);
  ASSERT_TRUE(open(exec()).ok());
  EXPECT_EQ(open(exec()).code(), Code::kTooManyRequests);
}

TEST_F(ClientSessionsTest, NobodyElseListensAsksOrIsAnswered) {
  auto bob = network.connect("bob", bus::operator_permissions("bob"));
  std::string heard;
  auto spy = [&](const bus::Message& m) { heard += m.data; };
  auto out = bob->subscribe("gantry.client.admin.*.out", "", spy), in = bob->subscribe("gantry.client.*.*.in", "", spy),
       all = bob->subscribe("gantry.client.>", "", spy);
  EXPECT_EQ(bob->violations().size(), 3u);
  ASSERT_TRUE(open(exec()).ok());
  node.session->write(Channel::Stdout, "secret");
  g.loop.drain();
  EXPECT_EQ(client.data[Channel::Stdout], "secret");
  EXPECT_EQ(heard, "");
  // In another's name, and with another's inbox for the answer.
  EXPECT_EQ(open(exec(), *bob, "admin").code(), Code::kUnavailable);
  std::string request;
  auto tap = gateway->subscribe("gantry.client.admin.open", "", [&](const bus::Message& m) { request = m.data; });
  auto victim = ann->subscribe("_INBOX.admin.x", "", spy);
  client.session.reset();
  ASSERT_TRUE(open(exec()).ok());
  ASSERT_FALSE(request.empty());
  (void)bob->publish("gantry.client.bob.open", request, "_INBOX.admin.x");
  g.loop.drain();
  EXPECT_EQ(heard, "");
}

}  // namespace
}  // namespace gantry::apigw::testing
