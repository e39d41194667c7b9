// Port-forward sessions on real sockets: half close either way, and nothing left.
#include "services/nodeagent/session/stream_sessions.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libs/bus/testing/fake_bus.h"

namespace gantry::nodeagent {
namespace {

class PortSessionTest : public ::testing::Test {
 protected:
  void SetUp() override {
    int pair[2];
    ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
    pod = pair[1];
    acceptor = bus::accept_sessions(loop, *agent, "n1", [this, fd = pair[0]](bus::SessionAcceptor::Offer offer) {
      session = std::make_unique<PortSession>(loop, fd, [this] { finished = true; });
      session->start(offer.accept(session->session_callbacks()));
    });
    bus::SessionRequest request;
    request.kind = node::SessionKind::PortForward, request.ns = "default", request.pod = "web", request.port = 80;
    bus::Session::Callbacks callbacks{.data =
                                          [this](node::Channel, std::string_view data, bool end) {
                                            got += data;
                                            ended |= end;
                                            mine->consume(data.size());
                                          },
                                      .closed = [this](const bus::SessionEnd& end) { closed = end; },
                                      .writable = [] {}};
    bus::open_session(loop, *gateway, "n1", request, callbacks,
                      [this](Result<std::unique_ptr<bus::Session>> opened) { mine = std::move(*opened); });
    ASSERT_TRUE(until([&] { return mine != nullptr; }));
  }
  void TearDown() override {
    session.reset();
    for (int i = 0; i < 3; ++i) loop.run_once(false);
    close(pod);
  }
  bool until(const std::function<bool()>& condition) {
    auto end = loop.now() + std::chrono::seconds(20);
    auto tick = loop.every(std::chrono::milliseconds(5), [] {});
    while (!condition()) {
      if (loop.now() > end) return false;
      loop.run_once();
    }
    return true;
  }
  /// What the pod's process reads; nullopt: nothing yet, "": the end.
  std::optional<std::string> hear() {
    char buffer[4096];
    auto size = read(pod, buffer, sizeof buffer);
    if (size < 0) return std::nullopt;
    return std::string(buffer, static_cast<size_t>(size));
  }

  UvLoop loop;
  gantry::testing::FakeNetwork network{loop};
  std::unique_ptr<gantry::testing::FakeBus> gateway = network.connect("apigw", bus::apigw_permissions()),
                                            agent = network.connect("node-n1", bus::node_permissions("n1"));
  std::unique_ptr<bus::Subscription> acceptor;
  std::unique_ptr<PortSession> session;
  std::unique_ptr<bus::Session> mine;
  std::string got;
  std::optional<bus::SessionEnd> closed;
  int pod = -1;
  bool ended = false, finished = false;
};

TEST_F(PortSessionTest, TheClientEndsFirst) {
  mine->write(node::Channel::Stdin, "request");
  mine->end(node::Channel::Stdin);
  std::string heard;
  bool over = false;
  ASSERT_TRUE(until([&] {
    auto piece = hear();
    if (piece) heard += *piece;
    over |= piece && piece->empty();
    return over;
  }));
  EXPECT_EQ(heard, "request");
  EXPECT_FALSE(closed);
  ASSERT_EQ(write(pod, "answer", 6), 6);
  shutdown(pod, SHUT_WR);
  ASSERT_TRUE(until([&] { return closed.has_value(); }));
  EXPECT_EQ(got, "answer");
  EXPECT_TRUE(ended);
  EXPECT_EQ(closed->error, "");
}

TEST_F(PortSessionTest, ThePodEndsFirst) {
  ASSERT_EQ(write(pod, "greeting", 8), 8);
  shutdown(pod, SHUT_WR);
  ASSERT_TRUE(until([&] { return ended; }));
  EXPECT_EQ(got, "greeting");
  EXPECT_FALSE(closed) << "the other way is open";
  mine->write(node::Channel::Stdin, "late");
  std::optional<std::string> heard;
  ASSERT_TRUE(until([&] { return (heard = hear()).has_value(); }));
  EXPECT_EQ(*heard, "late");
  mine->end(node::Channel::Stdin);
  ASSERT_TRUE(until([&] { return closed.has_value() && finished; }));
  EXPECT_EQ(closed->error, "");
}

TEST_F(PortSessionTest, AClientThatGoesTakesTheConnectionAlong) {
  mine.reset();
  ASSERT_TRUE(until([&] { return finished; }));
  session.reset();
  ASSERT_TRUE(until([&] {
    auto heard = hear();
    return heard && heard->empty();
  }));
}

}  // namespace
}  // namespace gantry::nodeagent
