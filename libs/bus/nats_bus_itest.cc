// The bus on a real nats-server with TLS and JWTs: round trips, restarts, and identities that try to overstep.
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <thread>

#include "libs/bus/command.h"
#include "libs/bus/events.h"
#include "libs/bus/nats_bus.h"
#include "libs/bus/testing/fake_source.h"
#include "libs/bus/testing/nats_server.h"

namespace gantry::bus {
namespace {

using gantry::testing::FakeSource;
using gantry::testing::NatsServer;
using std::chrono::milliseconds;
using std::chrono::seconds;

struct NatsTest : ::testing::Test {
  UvLoop loop;
  NatsServer server;

  /// Runs the loop until `done`; false after the limit.
  bool wait(const std::function<bool()>& done, Duration limit = seconds(20)) {
    bool late = false;
    auto timer = loop.after(limit, [&] { late = true; });
    auto tick = loop.every(milliseconds(2), [] {});  // conditions that no event of the loop announces
    while (!done() && !late) loop.run_once();
    return done();
  }
  std::unique_ptr<NatsBus> connect(const std::string& identity) {
    auto bus = std::make_unique<NatsBus>(loop, server.options(identity));
    EXPECT_TRUE(wait([&] { return bus->connected(); })) << identity;
    return bus;
  }
  /// After this, what was published before has been routed, and what came of it has arrived.
  void settle(NatsBus& from, NatsBus& to) {
    for (auto* bus : {&from, &to}) {
      bool flushed = false;
      bus->flush([&](Status s) { flushed = s.ok(); });
      EXPECT_TRUE(wait([&] { return flushed; }));
    }
  }
  std::unique_ptr<CommandServer> serve(NatsBus& bus) {
    return make_command_server(loop, bus, [](const std::string& identity, const Command& c, Respond respond) {
      CommandOutcome outcome;
      outcome.uid = identity + ":" + c.name;
      respond(outcome);
    });
  }
};

TEST_F(NatsTest, CommandsGoRoundInBatches) {
  auto apigw = connect("apigw"), bus = connect("controllers");
  auto commands_server = serve(*apigw);
  settle(*apigw, *bus);
  auto client = make_command_client(loop, *bus, "controllers");
  int good = 0;
  for (int i = 0; i < 2000; ++i) {
    Command c;
    c.verb = Verb::Create, c.resource = "pods", c.name = std::to_string(i);
    client->send(c,
                 [&, i](Result<CommandOutcome> r) { good += r.ok() && r->uid == "controllers:" + std::to_string(i); });
  }
  EXPECT_TRUE(wait([&] { return good == 2000; }));
  EXPECT_LT(apigw->counters().received, 30u);
}

TEST_F(NatsTest, NobodyListensIsKnownAtOnce) {
  auto bus = connect("controllers");
  std::optional<Code> code;
  bus->request("gantry.cmd.controllers.get", "x", seconds(30), [&](Result<std::string> r) { code = r.code(); });
  EXPECT_TRUE(wait([&] { return code.has_value(); }, seconds(10)));
  EXPECT_EQ(code, Code::kUnavailable);
}

TEST_F(NatsTest, ConnectingLateAndLargeMessages) {
  server.kill(SIGKILL);
  NatsBus apigw(loop, server.options("apigw")), bus(loop, server.options("controllers"));
  size_t received = 0;
  auto sub = bus.subscribe("gantry.events.>", "", [&](const Message& m) { received += m.data.size(); });
  ASSERT_TRUE(apigw.publish("gantry.events.a", "early"));  // waits for the connection
  EXPECT_FALSE(apigw.connected());
  server.start();
  ASSERT_TRUE(wait([&] { return apigw.connected() && bus.connected(); }));
  settle(bus, apigw);
  std::string large((8 << 20) - 1, 'x');
  ASSERT_TRUE(apigw.publish("gantry.events.b", large));
  EXPECT_EQ(apigw.publish("gantry.events.b", std::string((8 << 20) + 1, 'x')).code(), Code::kTooLarge);
  EXPECT_TRUE(wait([&] { return received >= large.size(); }));
}

TEST_F(NatsTest, AKilledServerIsComeBackTo) {
  auto apigw = connect("apigw"), bus = connect("controllers");
  auto commands_server = serve(*apigw);
  auto client = make_command_client(loop, *bus, "controllers");
  std::vector<bool> changes;
  auto watch = bus->on_connection([&](bool up) { changes.push_back(up); });
  for (int round = 0; round < 3; ++round) {
    server.kill(SIGKILL);
    ASSERT_TRUE(wait([&] { return !bus->connected() && !apigw->connected(); }));
    std::optional<Code> code;
    Command c;
    c.verb = Verb::Create, c.resource = "pods", c.name = "a";
    client->send(c, seconds(30), [&](Result<CommandOutcome> r) { code = r.code(); });
    server.start();
    ASSERT_TRUE(wait([&] { return code.has_value(); }, seconds(30)));
    EXPECT_EQ(code, Code::kOk);
  }
  EXPECT_EQ(changes, (std::vector<bool>{false, true, false, true, false, true}));
}

TEST_F(NatsTest, ABufferThatIsFullSaysSo) {
  auto options = server.options("apigw");
  options.outgoing_limit = 1 << 20;
  NatsBus bus(loop, options);
  ASSERT_TRUE(wait([&] { return bus.connected(); }));
  ::kill(server.pid(), SIGSTOP);  // takes nothing but what the sockets' buffers hold
  Status status = Done{};
  for (int i = 0; i < 1000 && status; ++i) status = bus.publish("gantry.events.x", std::string(100'000, 'x'));
  EXPECT_EQ(status.code(), Code::kUnavailable);
  ::kill(server.pid(), SIGCONT);
  EXPECT_TRUE(wait([&] { return bus.buffered() == 0; }));
  EXPECT_TRUE(bus.publish("gantry.events.x", "again"));
}

TEST_F(NatsTest, IdentitiesCannotOverstep) {
  auto apigw = connect("apigw"), n1 = connect("node-n1"), n2 = connect("node-n2");
  auto commands_server = serve(*apigw);
  int stolen = 0;
  auto steal = [&](const Message& m) { LOG(ERROR) << "n2 heard " << m.subject, ++stolen; };
  std::vector<std::unique_ptr<Subscription>> subs;
  for (const char* subject :
       {"_INBOX.>", "_INBOX.node-n1.>", "_INBOX.*.>", "gantry.>", "gantry.session.n1.*.in", "gantry.session.>",
        "gantry.events.>", "gantry.events.pods.n1.>", "gantry.events.pods.*.default.>", "gantry.cmd.>",
        "gantry.node.n1.>", "gantry.heads.>", ">", "$JS.>"}) {
    subs.push_back(n2->subscribe(subject, "", steal));
    subs.push_back(n2->subscribe(subject, "apigw", steal));
  }
  int own = 0;
  subs.push_back(n2->subscribe("gantry.events.*.n2.>", "", [&](const Message&) { ++own; }));
  settle(*n2, *apigw);

  // What n2 must not hear.
  ASSERT_TRUE(apigw->publish("gantry.events.pods.n1.default.p", "x"));
  ASSERT_TRUE(apigw->publish("gantry.session.n1.s1.in", "x"));
  ASSERT_TRUE(apigw->publish("gantry.heads.pods.all", "x"));
  ASSERT_TRUE(apigw->publish("gantry.events.pods.n2.default.p", "x"));
  auto client = make_command_client(loop, *n1, "node-n1");
  std::optional<Result<CommandOutcome>> answer;
  Command c;
  c.verb = Verb::Get, c.resource = "pods", c.name = "p";
  client->send(c, [&](Result<CommandOutcome> r) { answer = r; });
  ASSERT_TRUE(wait([&] { return answer.has_value(); }));
  ASSERT_TRUE(answer->ok());
  EXPECT_EQ((*answer)->uid, "node-n1:p");
  settle(*apigw, *n2);
  EXPECT_EQ(stolen, 0);
  EXPECT_EQ(own, 1);

  // What n2 must not say.
  int heard = 0;
  auto listen = [&](const Message& m) { LOG(ERROR) << "heard " << m.subject << " from n2", ++heard; };
  auto on_n1 = n1->subscribe("gantry.session.n1.*.in", "", listen),
       on_down = n1->subscribe("gantry.node.n1.down.>", "", listen);
  auto on_inbox = n1->subscribe("_INBOX.node-n1.forged.*", "", listen),
       on_event = n1->subscribe("gantry.events.*.n1.>", "", listen);
  auto on_up = apigw->subscribe("gantry.node.n1.up.>", "", listen),
       on_session = apigw->subscribe("gantry.session.n1.*.out", "", listen);
  settle(*n1, *apigw);
  auto before = commands_server->counters().commands;
  c.id = "forged";
  auto forged = encode_batch({&c}, 1000);
  for (const char* subject :
       {"gantry.session.n1.s.in", "gantry.session.n1.s.out", "gantry.node.n1.down.session",
        "gantry.node.n1.up.heartbeat", "_INBOX.node-n1.forged.1", "gantry.events.pods.n1.default.p", "$JS.API.INFO"}) {
    ASSERT_TRUE(n2->publish(subject, "x"));
  }
  ASSERT_TRUE(n2->publish("gantry.cmd.node-n1.get", forged, "_INBOX.node-n2.a.1"));
  ASSERT_TRUE(n2->publish("gantry.cmd.apigw.get", forged, "_INBOX.node-n2.a.1"));
  settle(*n2, *apigw);
  EXPECT_EQ(commands_server->counters().commands, before);

  // nats-server lets a client name any reply: the gateway must refuse to talk there.
  for (const char* reply : {"gantry.events.pods.n1.default.p", "_INBOX.node-n1.forged.1", "gantry.session.n1.s.in",
                            "gantry.node.n1.down.session"}) {
    ASSERT_TRUE(n2->publish("gantry.cmd.node-n2.get", forged, reply));
  }
  settle(*n2, *apigw);
  settle(*apigw, *n1);
  EXPECT_EQ(commands_server->counters().foreign_replies, 4u);
  EXPECT_EQ(commands_server->counters().commands, before);
  EXPECT_EQ(heard, 0);
}

TEST_F(NatsTest, AStrangerDoesNotGetIn) {
  gantry::testing::NatsServer other;
  auto options = other.options("apigw");
  options.url = server.url();
  options.ca_file = server.options("apigw").ca_file;
  NatsBus stranger(loop, options);  // another cluster's credentials
  auto distrust = server.options("apigw");
  distrust.ca_file = other.options("apigw").ca_file;
  NatsBus distrusting(loop, distrust);  // a server that we cannot trust
  EXPECT_FALSE(wait([&] { return stranger.connected() || distrusting.connected(); }, seconds(1)));
}

TEST_F(NatsTest, AFeedSurvivesRestartsOfTheServer) {
  auto apigw = connect("apigw"), bus = connect("controllers");
  FakeSource source(loop, *apigw);
  settle(*apigw, *bus);
  auto client = make_command_client(loop, *bus, "controllers");
  std::map<std::string, uint64_t> view;
  uint64_t last = 0;
  FeedCallbacks callbacks;
  Chain chain{"pods", "", ""};
  callbacks.reset = [&](uint64_t head, const std::vector<CommandOutcome::Item>& items) {
    view.clear();
    for (const auto& item : items) view[item.object] = item.revision;
    last = head;
  };
  callbacks.event = [&](const Event& e) {
    EXPECT_GT(e.revision(), last);
    EXPECT_FALSE(source.between(chain, last, e.revision()));
    last = e.revision();
    view[e.namespace_()->str() + "/" + e.name()->str()] = e.revision();
  };
  auto feed = make_feed(loop, *bus, *client, chain, callbacks);
  ASSERT_TRUE(wait([&] { return feed->synced(); }));
  int n = 0;
  auto load = loop.every(milliseconds(1), [&] {
    auto name = "p" + std::to_string(++n % 200);
    source.put("pods", "default", name, "", "default/" + name);
  });
  for (int round = 0; round < 2; ++round) {
    int before = n;
    ASSERT_TRUE(wait([&] { return n > before + 200; }));
    server.kill(SIGKILL);
    before = n;
    ASSERT_TRUE(wait([&] { return n > before + 100; }));
    server.start();
    ASSERT_TRUE(wait([&] { return bus->connected() && apigw->connected(); }));
  }
  load.reset();
  EXPECT_TRUE(wait([&] { return feed->synced() && feed->revision() == source.head(chain); }, seconds(30)));
  for (auto& [key, object] : source.view(chain)) EXPECT_EQ(view[key], object.revision) << key;
  EXPECT_EQ(feed->counters().snapshots, 1u);
  LOG(INFO) << feed->counters().events << " events, " << feed->counters().gaps << " gaps, " << feed->counters().replays
            << " replays";
}

/// A server without TLS that knows just enough of the protocol (docs.nats.io, "Client Protocol"): it answers pings and,
/// once somebody has subscribed to `subject`, sends what the test says. One connection at a time.
class ScriptedServer {
 public:
  /// `lines[i]` goes to the i-th connection that subscribes, with its sid for "SID"; the first one is then cut off.
  ScriptedServer(std::string subject, std::vector<std::string> lines)
      : subject_(std::move(subject)), lines_(std::move(lines)), listening_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t size = sizeof address;
    if (bind(listening_, reinterpret_cast<sockaddr*>(&address), size) != 0 || listen(listening_, 8) != 0) abort();
    getsockname(listening_, reinterpret_cast<sockaddr*>(&address), &size);
    port_ = ntohs(address.sin_port);
    thread_ = std::thread([this] {
      for (size_t i = 0;; ++i) {
        int peer = accept(listening_, nullptr, nullptr);
        if (peer < 0) return;
        serve(peer, i);
        close(peer);
      }
    });
  }
  ~ScriptedServer() {
    shutdown(listening_, SHUT_RDWR);
    thread_.join();
    close(listening_);
  }
  std::string url() const { return fmt::format("nats://127.0.0.1:{}", port_); }

 private:
  static void say(int peer, std::string_view text) { (void)!send(peer, text.data(), text.size(), MSG_NOSIGNAL); }

  void serve(int peer, size_t connection) {
    say(peer, R"(INFO {"server_id":"s","version":"2.9.0","proto":1,"headers":true,"max_payload":1048576})"
              "\r\n");
    std::string read;
    char buffer[4096];
    for (ssize_t n; (n = recv(peer, buffer, sizeof buffer, 0)) > 0;) {
      read.append(buffer, static_cast<size_t>(n));
      for (size_t end; (end = read.find("\r\n")) != std::string::npos; read.erase(0, end + 2)) {
        const std::string line = read.substr(0, end);
        if (line == "PING") say(peer, "PONG\r\n");
        if (!line.starts_with("SUB " + subject_ + " ")) continue;
        std::string text = lines_[std::min(connection, lines_.size() - 1)];
        text.replace(text.find("SID"), 3, line.substr(line.rfind(' ') + 1));
        say(peer, text);
        if (connection == 0) return;
      }
    }
  }

  std::string subject_;
  std::vector<std::string> lines_;
  int listening_ = -1, port_ = 0;
  std::thread thread_;
};

TEST(TheBus, AMessageThatWasCutOffDoesNotHarmTheNextConnection) {
  UvLoop loop;
  ScriptedServer server("a", {"MSG a SID 10\r\nhal", "MSG a SID 5\r\nwhole\r\n"});
  NatsOptions options;
  options.url = server.url(), options.identity = "test";
  NatsBus bus(loop, options);
  std::vector<std::string> received;
  auto subscription = bus.subscribe("a", "", [&](const Message& m) { received.emplace_back(m.data); });
  bool late = false;
  auto limit = loop.after(seconds(20), [&] { late = true; });
  while (received.empty() && !late) loop.run_once();
  EXPECT_EQ(received, std::vector<std::string>{"whole"});
  EXPECT_EQ(bus.counters().connects, 2u);
}

}  // namespace
}  // namespace gantry::bus
