// Sessions on a real nats-server: large streams, slow readers, and neighbours.
#include <gtest/gtest.h>
#include <signal.h>

#include "libs/bus/session.h"
#include "libs/bus/testing/nats_server.h"

namespace gantry::bus {
namespace {

using gantry::testing::NatsServer;
using node::Channel;
using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr size_t kTotal = 100u << 20;

/// The byte at a position of the stream: a loss, a repeat or a swap shows.
char byte_at(size_t position) { return static_cast<char>((position * 2654435761u) >> 13); }

struct SessionsOnNats : ::testing::Test {
  bool wait(const std::function<bool()>& done, Duration limit = seconds(60)) {
    bool late = false;
    auto timer = loop.after(limit, [&] { late = true; });
    while (!done() && !late) loop.run_once();
    return done();
  }
  void connect() {
    ASSERT_TRUE(wait([&] { return apigw.connected() && agent.connected(); }));
  }
  /// Until the server knows what the agent subscribes to.
  void settle() {
    bool flushed = false;
    agent.flush([&](Status s) { flushed = s.ok(); });
    ASSERT_TRUE(wait([&] { return flushed; }));
  }
  /// Writes kTotal bytes as fast as the session takes them, then closes.
  void pour(Session& session) {
    while (poured < kTotal) {
      std::string chunk(std::min<size_t>(200'000, kTotal - poured), '\0');
      for (size_t i = 0; i < chunk.size(); ++i) chunk[i] = byte_at(poured + i);
      poured += chunk.size();
      if (!session.write(Channel::Stdout, chunk)) return;
    }
    session.close({.exit_code = 0});
  }

  UvLoop loop;
  NatsServer server;
  NatsBus apigw{loop, server.options("apigw")}, agent{loop, server.options("node-n1")};
  size_t poured = 0;
};

TEST_F(SessionsOnNats, AHundredMegabytesArriveWholeAtASlowReader) {
  connect();
  std::unique_ptr<Session> sender, receiver;
  auto acceptor = accept_sessions(loop, agent, "n1", [&](SessionAcceptor::Offer offer) {
    sender = offer.accept({.writable = [&] { pour(*sender); }});
    pour(*sender);
  });
  settle();
  size_t received = 0, unconsumed = 0, most = 0;
  bool right = true;
  std::optional<SessionEnd> end;
  Session::Callbacks callbacks;
  callbacks.data = [&](Channel, std::string_view data, bool) {
    for (size_t i = 0; i < data.size(); ++i) right = right && data[i] == byte_at(received + i);
    received += data.size();
    unconsumed += data.size();
    most = std::max(most, unconsumed);
  };
  callbacks.closed = [&](const SessionEnd& e) { end = e; };
  open_session(loop, apigw, "n1", {}, callbacks, [&](Result<std::unique_ptr<Session>> r) {
    ASSERT_TRUE(r);
    receiver = std::move(*r);
  });
  // Takes what is there each few milliseconds only.
  auto slow = loop.every(milliseconds(5), [&] {
    if (receiver) receiver->consume(std::exchange(unconsumed, 0));
  });
  ASSERT_TRUE(wait([&] { return end.has_value(); }, seconds(120)));
  EXPECT_EQ(end->error, "");
  EXPECT_EQ(received, kTotal);
  EXPECT_TRUE(right);
  EXPECT_LE(most, 1u << 20);  // never more than the window
}

TEST_F(SessionsOnNats, ARestartOfTheServerLosesNothingUnnoticed) {
  connect();
  std::unique_ptr<Session> sender, receiver;
  std::optional<SessionEnd> end;
  auto acceptor = accept_sessions(loop, agent, "n1", [&](SessionAcceptor::Offer offer) {
    sender = offer.accept({.writable = [&] { pour(*sender); }});
    pour(*sender);
  });
  settle();
  Session::Callbacks callbacks;
  size_t received = 0;
  bool right = true;
  callbacks.data = [&](Channel, std::string_view data, bool) {
    for (size_t i = 0; i < data.size(); ++i) right = right && data[i] == byte_at(received + i);
    received += data.size();
    if (receiver) receiver->consume(data.size());
  };
  callbacks.closed = [&](const SessionEnd& e) { end = e; };
  open_session(loop, apigw, "n1", {}, callbacks, [&](Result<std::unique_ptr<Session>> r) { receiver = std::move(*r); });
  ASSERT_TRUE(wait([&] { return received > (1u << 20); }));
  server.kill(SIGKILL);
  server.start();
  ASSERT_TRUE(wait([&] { return end.has_value(); }));
  EXPECT_TRUE(right);
  // Never a clean end with bytes missing; but nothing need be missing, if the reader had all that was sent.
  if (end->error.empty()) EXPECT_EQ(received, kTotal);
}

}  // namespace
}  // namespace gantry::bus
