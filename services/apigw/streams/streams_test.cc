#include "services/apigw/streams/streams.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "libs/bus/testing/fake_bus.h"
#include "libs/http/spdy.h"
#include "libs/http/testing/fake_responder.h"
#include "services/apigw/core/testing/test_gateway.h"
#include "services/apigw/streams/proxy_headers.h"

namespace gantry::apigw::testing {
namespace {

using gantry::testing::FakeBus;
using nlohmann::json;
using node::Channel;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// A client that speaks SPDY.
struct SpdyPeer final : http::SpdyHandler {
  explicit SpdyPeer(std::shared_ptr<http::Stream> stream)
      : session(http::SpdySession::create(std::move(stream), http::SpdySession::Role::kClient, *this)) {}
  ~SpdyPeer() { session->detach(); }
  uint32_t open(http::Headers headers) { return session->open(std::move(headers)); }
  void on_stream(uint32_t, const http::Headers&, bool) override {}
  void on_data(uint32_t stream, std::string_view bytes, bool fin) override {
    data[stream] += bytes;
    if (fin) ends.insert(stream);
  }
  void on_reset(uint32_t stream, uint32_t) override { resets.insert(stream); }
  void on_closed(const std::string&) override { closed = true; }
  std::shared_ptr<http::SpdySession> session;
  std::map<uint32_t, std::string> data;
  std::set<uint32_t> ends, resets;
  bool closed = false;
};

/// A client that speaks WebSocket: masked frames out, short ones in.
struct WebSocketPeer {
  explicit WebSocketPeer(std::shared_ptr<http::testing::FakeStream> s) : stream(std::move(s)) {
    stream->on_data([this](std::string_view bytes) { input += bytes; });
    stream->on_close([this] { closed = true; });
  }
  void send(std::string_view message, uint8_t opcode = 2) {
    std::string frame{static_cast<char>(0x80 | opcode), static_cast<char>(0x80 | message.size()), 0, 0, 0, 0};
    stream->write(frame + std::string(message));
  }
  /// The messages so far; the payload of a close frame after "close:".
  std::vector<std::string> messages() {
    std::vector<std::string> out;
    for (size_t at = 0; at + 2 <= input.size();) {
      auto opcode = static_cast<uint8_t>(input[at]) & 15;
      size_t length = static_cast<uint8_t>(input[at + 1]), head = 2;
      if (length == 126) {
        length = static_cast<size_t>(static_cast<uint8_t>(input[at + 2])) << 8 | static_cast<uint8_t>(input[at + 3]);
        head = 4;
      }
      out.push_back((opcode == 8 ? "close:" : "") + input.substr(at + head, length));
      at += head + length;
    }
    return out;
  }
  std::shared_ptr<http::testing::FakeStream> stream;
  std::string input;
  bool closed = false;
};

class StreamsTest : public ::testing::Test {
 protected:
  /// What the node has of one session.
  struct Side {
    bus::SessionRequest request;
    std::unique_ptr<bus::Session> session;
    std::map<Channel, std::string> data;
    std::set<Channel> ends;
    bool closed = false;
    bus::Session::Callbacks callbacks() {
      return {.data =
                  [this](Channel channel, std::string_view bytes, bool end) {
                    data[channel] += bytes;
                    if (end) ends.insert(channel);
                    if (session) session->consume(bytes.size());
                  },
              .closed = [this](const bus::SessionEnd&) { closed = true; },
              .writable = [] {}};
    }
  };

  void SetUp() override {
    EXPECT_TRUE(g.create("pods", "default", TestGateway::pod("web")).ok());
    EXPECT_TRUE(g.bind("default", "web", "n1").ok());
    EXPECT_TRUE(g.create("pods", "default", TestGateway::pod("waits")).ok());
    acceptor = bus::accept_sessions(g.loop, *agent, "n1", [this](bus::SessionAcceptor::Offer offer) {
      if (refusal) return offer.refuse(*refusal);
      auto side = std::make_unique<Side>();
      side->request = offer.request;
      side->session = offer.accept(side->callbacks());
      node.push_back(std::move(side));
    });
  }

  /// Clients that have not gone are left.
  void TearDown() override {
    g.loop.advance(std::chrono::seconds(40));
    g.loop.drain();
  }

  std::shared_ptr<http::testing::FakeResponder> open(const std::string& subresource, const std::string& query,
                                                     http::Headers headers, const std::string& upgrade,
                                                     const std::string& pod = "web", const Identity& who = gateway()) {
    StreamRequest stream;
    stream.request.method = upgrade == "websocket" ? "GET" : "POST";
    stream.request.query = *http::Query::parse(query);
    stream.request.headers = std::move(headers);
    stream.request.is_upgrade = !upgrade.empty();
    stream.request.upgrade = upgrade;
    stream.ns = "default", stream.name = pod, stream.subresource = subresource, stream.resource = "pods";
    stream.identity = who;
    auto responder = std::make_shared<http::testing::FakeResponder>();
    responder->loop = &g.loop;
    stream.responder = responder;
    start_stream({g.loop, *g.api, *gateway_bus}, std::move(stream));
    g.loop.drain();
    return responder;
  }
  std::shared_ptr<http::testing::FakeResponder> spdy(const std::string& subresource, const std::string& query,
                                                     const std::string& protocol = "v4.channel.k8s.io") {
    return open(subresource, query, {{"X-Stream-Protocol-Version", protocol}}, "SPDY/3.1");
  }
  std::shared_ptr<http::testing::FakeResponder> websocket(const std::string& subresource, const std::string& query,
                                                          const std::string& protocol) {
    return open(subresource, query, {{"Sec-WebSocket-Protocol", protocol}}, "websocket");
  }
  static std::string message(const http::testing::FakeResponder& responder) {
    auto body = json::parse(responder.body, nullptr, false);
    return body.is_object() ? body.value("message", "") : responder.body;
  }

  TestGateway g;
  gantry::testing::FakeNetwork network{g.loop};
  std::unique_ptr<FakeBus> gateway_bus = network.connect("apigw", bus::apigw_permissions()),
                           agent = network.connect("node-n1", bus::node_permissions("n1"));
  std::unique_ptr<bus::Subscription> acceptor;
  std::vector<std::unique_ptr<Side>> node;
  std::optional<Error> refusal;
};

TEST_F(StreamsTest, ExecOverSpdyWithItsExitCode) {
  auto r = spdy("exec", "command=cat&command=-n&stdin=true&stdout=true&stderr=true");
  ASSERT_EQ(r->status, 101) << r->body;
  EXPECT_EQ(r->headers.get("X-Stream-Protocol-Version"), "v4.channel.k8s.io");
  SpdyPeer client(r->peer);
  auto error = client.open({{"streamtype", "error"}}), in = client.open({{"streamtype", "stdin"}});
  client.session->write(in, "early ");
  auto out = client.open({{"streamtype", "stdout"}});
  g.loop.drain();
  EXPECT_TRUE(node.empty()) << "before all streams have come";
  auto err = client.open({{"streamtype", "stderr"}});
  g.loop.drain();
  ASSERT_EQ(node.size(), 1u);
  EXPECT_EQ(node[0]->request.command, (std::vector<std::string>{"cat", "-n"}));
  EXPECT_EQ(node[0]->request.container, "main");
  client.session->write(in, "late");
  client.session->finish(in);
  g.loop.drain();
  EXPECT_EQ(node[0]->data[Channel::Stdin], "early late");
  EXPECT_TRUE(node[0]->ends.contains(Channel::Stdin));
  node[0]->session->write(Channel::Stdout, "out");
  node[0]->session->write(Channel::Stderr, "err");
  node[0]->session->close({.exit_code = 7});
  g.loop.drain();
  EXPECT_EQ(client.data[out] + client.data[err], "outerr");
  auto status = json::parse(client.data[error]);
  EXPECT_EQ(status["reason"], "NonZeroExitCode");
  EXPECT_EQ(status["details"]["causes"][0]["message"], "7");
  for (auto stream : {error, out, err}) EXPECT_TRUE(client.ends.contains(stream));
  g.loop.advance(std::chrono::seconds(6));
  EXPECT_TRUE(client.closed) << "a client that does not go is left";
}

TEST_F(StreamsTest, AResizeMayComeInPieces) {
  auto r = spdy("exec", "command=sh&stdin=true&stdout=true&tty=true");
  SpdyPeer client(r->peer);
  client.open({{"streamtype", "error"}});
  client.open({{"streamtype", "stdin"}});
  client.open({{"streamtype", "stdout"}});
  auto resize = client.open({{"streamtype", "resize"}});
  g.loop.drain();
  client.session->write(resize, "{\"Width\":80,");
  client.session->write(resize, "\"Height\":24}\n{\"Width\":1");
  g.loop.drain();
  ASSERT_EQ(node.size(), 1u);
  EXPECT_EQ(node[0]->data[Channel::Resize], "{\"Width\":80,\"Height\":24}");
}

TEST_F(StreamsTest, TheOldestProtocolGetsItsStatusInWords) {
  auto r = spdy("exec", "command=false&stdout=true", "channel.k8s.io");
  SpdyPeer client(r->peer);
  auto error = client.open({{"streamtype", "error"}});
  client.open({{"streamtype", "stdout"}});
  g.loop.drain();
  node.at(0)->session->close({.exit_code = 1});
  g.loop.drain();
  EXPECT_EQ(client.data[error], "command terminated with non-zero exit code: exit status 1");
}

TEST_F(StreamsTest, ExecOverWebSocketEndsStdinInV5) {
  auto r = websocket("exec", "command=cat&stdin=true&stdout=true", "v5.channel.k8s.io, v4.channel.k8s.io");
  ASSERT_EQ(r->status, 101) << r->body;
  EXPECT_EQ(r->protocol, "v5.channel.k8s.io");
  WebSocketPeer client(r->peer);
  client.send(std::string("\0hello", 6));
  client.send(std::string("\xff\0", 2));
  g.loop.drain();
  ASSERT_EQ(node.size(), 1u);
  EXPECT_EQ(node[0]->data[Channel::Stdin], "hello");
  EXPECT_TRUE(node[0]->ends.contains(Channel::Stdin));
  node[0]->session->write(Channel::Stdout, "bye");
  node[0]->session->close({.exit_code = 0});
  g.loop.drain();
  auto got = client.messages();
  ASSERT_EQ(got.size(), 4u);
  EXPECT_EQ(got[0], "\1") << "an empty message first, as the API server sends it";
  EXPECT_EQ(got[1], "\1bye");
  EXPECT_EQ(json::parse(got[2].substr(1))["status"], "Success");
  EXPECT_EQ(got[3], "close:\x03\xe8");
}

TEST_F(StreamsTest, ExecOverWebSocketInBase64) {
  auto r = websocket("exec", "command=cat&stdin=true&stdout=true", "v4.base64.channel.k8s.io");
  WebSocketPeer client(r->peer);
  client.send("0aGVsbG8=", 1);
  g.loop.drain();
  EXPECT_EQ(node.at(0)->data[Channel::Stdin], "hello");
  node[0]->session->write(Channel::Stdout, "hi");
  g.loop.drain();
  EXPECT_EQ(client.messages().at(1), "1aGk=");
  client.send("0%%%%", 1);
  g.loop.drain();
  EXPECT_THAT(client.messages().back(), StartsWith("close:\x03\xea"));
  g.loop.drain();
  EXPECT_TRUE(node[0]->closed);
}

TEST_F(StreamsTest, AttachNeedsNoCommand) {
  auto r = spdy("attach", "stdin=true&stdout=true&stderr=true&container=main");
  SpdyPeer client(r->peer);
  for (const char* type : {"error", "stdin", "stdout", "stderr"}) client.open({{"streamtype", type}});
  g.loop.drain();
  ASSERT_EQ(node.size(), 1u);
  EXPECT_EQ(node[0]->request.kind, node::SessionKind::Attach);
  client.session->close();
  g.loop.drain();
  EXPECT_TRUE(node[0]->closed) << "the node is told that the client went";
}

TEST_F(StreamsTest, PortForwardHasASessionForEachConnection) {
  auto r = spdy("portforward", "", "portforward.k8s.io");
  ASSERT_EQ(r->status, 101) << r->body;
  SpdyPeer client(r->peer);
  std::vector<std::pair<uint32_t, uint32_t>> pairs;
  for (int i = 0; i < 3; ++i) {
    auto id = std::to_string(i);
    auto error = client.open({{"streamtype", "error"}, {"port", "80"}, {"requestid", id}});
    auto data = client.open({{"streamtype", "data"}, {"port", "80"}, {"requestid", id}});
    client.session->finish(error);
    client.session->write(data, "request " + id);
    pairs.emplace_back(error, data);
  }
  g.loop.drain();
  ASSERT_EQ(node.size(), 3u);
  EXPECT_EQ(node[1]->request.port, 80);
  EXPECT_EQ(node[1]->data[Channel::Stdin], "request 1");
  // Half close one way, then the other.
  client.session->finish(pairs[1].second);
  g.loop.drain();
  EXPECT_TRUE(node[1]->ends.contains(Channel::Stdin));
  node[1]->session->write(Channel::Stdout, "answer");
  node[1]->session->end(Channel::Stdout);
  g.loop.drain();
  EXPECT_EQ(client.data[pairs[1].second], "answer");
  EXPECT_TRUE(client.ends.contains(pairs[1].second) && client.ends.contains(pairs[1].first));
  node[1]->session->close({});
  // A failure is said on the error stream.
  node[2]->session->close({.exit_code = std::nullopt, .error = "connection reset"});
  g.loop.drain();
  EXPECT_THAT(client.data[pairs[2].first], HasSubstr("error forwarding port 80 to pod web"));
  EXPECT_FALSE(node[0]->closed) << "the others live on";
  client.session->reset(pairs[0].second, http::SpdySession::kCancel);
  g.loop.drain();
  EXPECT_TRUE(node[0]->closed);
}

TEST_F(StreamsTest, PortForwardTunnelledInAWebSocket) {
  auto r = websocket("portforward", "", "SPDY/3.1+portforward.k8s.io");
  ASSERT_EQ(r->status, 101) << r->body;
  EXPECT_EQ(r->protocol, "SPDY/3.1+portforward.k8s.io");
  WebSocketPeer client(r->peer);
  http::spdy::FrameWriter writer;
  using http::spdy::Control;
  using http::spdy::Type;
  client.send(writer.control({.type = Type::kSynStream,
                              .stream = 1,
                              .headers = {{"streamtype", "error"}, {"port", "81"}, {"requestid", "0"}}}));
  client.send(writer.control({.type = Type::kSynStream,
                              .stream = 3,
                              .headers = {{"streamtype", "data"}, {"port", "81"}, {"requestid", "0"}}}));
  client.send(http::spdy::FrameWriter::data_head(3, 5, false) + "hello");
  g.loop.drain();
  ASSERT_EQ(node.size(), 1u);
  EXPECT_EQ(node[0]->request.port, 81);
  EXPECT_EQ(node[0]->data[Channel::Stdin], "hello");
  client.send("GET / HTTP/1.1 is no SPDY frame, nor is this: \x80\x02");
  client.stream->close();
  g.loop.drain();
  EXPECT_TRUE(node[0]->closed);
}

TEST_F(StreamsTest, PortForwardOverWebSocketChannels) {
  auto r = websocket("portforward", "ports=80,443", "v4.channel.k8s.io");
  WebSocketPeer client(r->peer);
  g.loop.drain();
  ASSERT_EQ(node.size(), 2u);
  EXPECT_EQ(client.messages(),
            (std::vector<std::string>{std::string("\0\x50\0", 3), std::string("\1\x50\0", 3), "\2\xbb\1", "\3\xbb\1"}));
  client.send("\2hi");
  g.loop.drain();
  EXPECT_EQ(node[1]->request.port, 443);
  EXPECT_EQ(node[1]->data[Channel::Stdin], "hi");
  node[0]->session->close({.exit_code = std::nullopt, .error = "refused"});
  node[1]->session->write(Channel::Stdout, "answer");
  node[1]->session->close({});
  g.loop.drain();
  auto got = client.messages();
  EXPECT_THAT(got, Contains(HasSubstr("refused")));
  EXPECT_THAT(got, Contains("\2answer"));
  EXPECT_EQ(got.back(), "close:\x03\xe8");
}

TEST_F(StreamsTest, RefusalsAreStatuses) {
  auto none = open("exec", "command=ls&stdout=true", {}, "SPDY/3.1", "none");
  EXPECT_EQ(none->status, 404);
  EXPECT_EQ(message(*none), "pods \"none\" not found");
  auto waits = open("attach", "stdout=true", {}, "SPDY/3.1", "waits");
  EXPECT_EQ(waits->status, 400);
  EXPECT_THAT(message(*waits), HasSubstr("does not have a host assigned"));
  EXPECT_THAT(message(*spdy("exec", "stdout=true")), HasSubstr("you must specify at least one command"));
  EXPECT_THAT(message(*spdy("exec", "command=ls")), HasSubstr("at least 1 of stdin, stdout, stderr"));
  EXPECT_THAT(message(*spdy("exec", "command=ls&stdout=true&container=nope")),
              HasSubstr("container nope is not valid"));
  auto plain = open("exec", "command=ls&stdout=true", {}, "");
  EXPECT_EQ(plain->status, 400);
  EXPECT_EQ(message(*plain), "Upgrade request required");
  EXPECT_EQ(open("exec", "command=ls&stdout=true", {}, "SPDY/3.1")->status, 400) << "no protocol";
  auto unknown = spdy("exec", "command=ls&stdout=true", "v9.channel.k8s.io");
  EXPECT_EQ(unknown->status, 403);
  EXPECT_EQ(unknown->headers.get("X-Accepted-Stream-Protocol-Versions"), "v5.channel.k8s.io");
  EXPECT_EQ(websocket("exec", "command=ls&stdout=true", "v9.channel.k8s.io")->status, 403);
  EXPECT_EQ(message(*websocket("portforward", "", "v4.channel.k8s.io")), "query parameter \"port\" is required");
  EXPECT_EQ(websocket("portforward", "ports=0", "v4.channel.k8s.io")->status, 400);
  EXPECT_EQ(websocket("portforward", "ports=65536", "v4.channel.k8s.io")->status, 400);
  auto bob = open("exec", "command=ls&stdout=true", {}, "SPDY/3.1", "web", identity_of_user("bob", {}));
  EXPECT_EQ(bob->status, 403);
  EXPECT_THAT(message(*bob), HasSubstr("cannot create resource \"pods/exec\""));
  EXPECT_TRUE(node.empty());
}

TEST_F(StreamsTest, ANodesRefusalComesOnTheErrorChannel) {
  refusal = Error{Code::kBadRequest, "unable to upgrade connection: container not found (\"main\")"};
  auto r = websocket("exec", "command=ls&stdout=true", "v5.channel.k8s.io");
  ASSERT_EQ(r->status, 101);
  WebSocketPeer client(r->peer);
  g.loop.drain();
  auto got = client.messages();
  ASSERT_GE(got.size(), 2u);
  EXPECT_EQ(json::parse(got[1].substr(1))["message"],
            "Internal error occurred: unable to upgrade connection: container not found (\"main\")");
}

TEST_F(StreamsTest, ANodeThatDoesNotAnswerIsSaidSo) {
  acceptor.reset();
  auto r = websocket("exec", "command=ls&stdout=true", "v5.channel.k8s.io");
  WebSocketPeer client(r->peer);
  g.loop.advance(std::chrono::seconds(11));
  g.loop.drain();
  auto got = client.messages();
  ASSERT_GE(got.size(), 2u);
  EXPECT_THAT(got[1], HasSubstr("error dialing backend: node n1 does not answer"));
}

TEST_F(StreamsTest, StreamsThatDoNotComeAreNotAwaitedForever) {
  auto r = spdy("exec", "command=ls&stdout=true");
  SpdyPeer client(r->peer);
  client.open({{"streamtype", "error"}});
  auto odd = client.open({{"streamtype", "telepathy"}});
  g.loop.drain();
  EXPECT_TRUE(client.resets.contains(odd));
  g.loop.advance(std::chrono::seconds(31));
  g.loop.drain();
  EXPECT_TRUE(client.closed);
  EXPECT_TRUE(node.empty());
}

TEST_F(StreamsTest, TenMegabytesArriveWholeAndASlowReaderHoldsTheNode) {
  auto r = spdy("exec", "command=cat&stdout=true");
  SpdyPeer client(r->peer);
  client.open({{"streamtype", "error"}});
  auto out = client.open({{"streamtype", "stdout"}});
  g.loop.drain();
  client.session->pause();
  std::string all;
  for (int i = 0; all.size() < 3'000'000; ++i) all += std::to_string(i) + "\n";
  node.at(0)->session->write(Channel::Stdout, all);
  g.loop.drain();
  EXPECT_GT(node[0]->session->queued(), 1'000'000u) << "it has no credit for more";
  client.session->resume();
  g.loop.drain();
  EXPECT_EQ(node[0]->session->queued(), 0u);
  EXPECT_TRUE(client.data[out] == all) << client.data[out].size();
}

TEST(ProxyHeaders, PathsAndRedirects) {
  auto paths = split_proxy_path("/api/v1/namespaces/d/services/http:web:80/proxy/a%2Fb/proxy/?x=1&y=/proxy");
  EXPECT_EQ(paths.prefix, "/api/v1/namespaces/d/services/http:web:80/proxy");
  EXPECT_EQ(paths.path, "/a%2Fb/proxy/");
  EXPECT_EQ(paths.query, "?x=1&y=/proxy");
  EXPECT_EQ(split_proxy_path("/api/v1/nodes/n1/proxy").path, "");
  EXPECT_EQ(split_proxy_path("/api/v1/nodes/n1/proxy/metrics").path, "/metrics");
  http::Request request;
  request.headers = {{"Host", "api:6443"}};
  ProxyTarget target;
  target.host = "10.0.0.5:80";
  auto location = [&](const std::string& value) {
    return std::string(
        returned_headers({{"Location", value}, {"Connection", "X-Hop"}, {"X-Hop", "1"}}, request, target, paths)
            .get("Location"));
  };
  EXPECT_EQ(location("/login"), paths.prefix + "/login");
  EXPECT_EQ(location("http://10.0.0.5:80/login?a"), paths.prefix + "/login?a");
  EXPECT_EQ(location("https://api:6443/login"), paths.prefix + "/login");
  EXPECT_EQ(location("https://elsewhere/login"), "https://elsewhere/login");
  EXPECT_EQ(location("//elsewhere/login"), "//elsewhere/login");
  EXPECT_EQ(location("relative"), "relative");
  EXPECT_EQ(location(paths.prefix + "/x"), paths.prefix + "/x");
  request.headers = {{"Host", "api"},      {"Authorization", "Bearer x"}, {"Connection", "keep-alive, X-Hop"},
                     {"X-Hop", "1"},       {"Impersonate-User", "root"},  {"Accept", "*/*"},
                     {"Keep-Alive", "100"}};
  request.remote_address = "192.0.2.1:1234";
  auto sent = forwarded_headers(request, "10.0.0.5:80");
  for (const char* gone : {"Authorization", "X-Hop", "Impersonate-User", "Keep-Alive"})
    EXPECT_FALSE(sent.has(gone)) << gone;
  EXPECT_EQ(sent.get("Accept"), "*/*");
  EXPECT_EQ(sent.get("Host"), "10.0.0.5:80");
  EXPECT_EQ(sent.get("X-Forwarded-For"), "192.0.2.1");
  EXPECT_EQ(sent.get("X-Forwarded-Host"), "api");
}

TEST_F(StreamsTest, ProxyOfAPod) {
  auto proxied = [&](const std::string& target, const std::string& method = "GET", bool upgrade = false) {
    StreamRequest stream;
    stream.request.method = method;
    stream.request.target = stream.request.raw_path = target;
    stream.request.headers = {{"Host", "api:6443"}};
    stream.request.is_upgrade = upgrade;
    stream.request.upgrade = upgrade ? "echo" : "";
    stream.request.body = method == "POST" ? "question" : "";
    auto parts = *http::path_segments(target);
    stream.ns = parts[3], stream.resource = parts[4], stream.name = parts[5], stream.subresource = "proxy";
    stream.identity = gateway();
    auto responder = std::make_shared<http::testing::FakeResponder>();
    responder->loop = &g.loop;
    stream.responder = responder;
    start_stream({g.loop, *g.api, *gateway_bus}, std::move(stream));
    g.loop.drain();
    return responder;
  };
  const std::string base = "/api/v1/namespaces/default/pods/";
  EXPECT_EQ(message(*proxied(base + "none/proxy/")), "pods \"none\" not found");
  EXPECT_EQ(message(*proxied(base + "web/proxy/")), "address not allowed") << "no IP yet";
  EXPECT_EQ(proxied(base + "ftp:web:80/proxy/")->status, 400);
  auto redirect = proxied(base + "web/proxy");
  EXPECT_EQ(redirect->status, 301);
  EXPECT_EQ(redirect->headers.get("Location"), base + "web/proxy/");

  bus::Command report;
  report.verb = bus::Verb::Patch;
  report.resource = "pods", report.ns = "default", report.name = "web", report.subresource = "status";
  report.patch_type = bus::PatchType::Merge;
  report.json = R"({"status":{"podIP":"10.1.2.3"}})";
  bool reported = false;
  g.api->handle(gateway(), report, [&](Result<Answer> answer) { reported = answer.ok(); });
  g.loop.run_until([&] { return reported; }, std::chrono::seconds(5));
  ASSERT_TRUE(reported);

  auto r = proxied(base + "web:8080/proxy/a/b", "POST");
  ASSERT_EQ(node.size(), 1u) << r->body;
  EXPECT_EQ(node[0]->request.address, "10.1.2.3:8080");
  EXPECT_THAT(node[0]->data[Channel::Stdin], StartsWith("POST /a/b HTTP/1.1\r\nHost: 10.1.2.3:8080\r\n"));
  EXPECT_THAT(node[0]->data[Channel::Stdin], HasSubstr("Content-Length: 8\r\n\r\nquestion"));
  node[0]->session->write(Channel::Stdout,
                          "HTTP/1.1 418 Teapot\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel");
  g.loop.drain();
  EXPECT_EQ(r->status, 418);
  EXPECT_EQ(r->body, "hel") << "as it comes";
  node[0]->session->write(Channel::Stdout, "lo\r\n0\r\n\r\n");
  g.loop.drain();
  EXPECT_EQ(r->body, "hello");
  EXPECT_TRUE(r->ended && !r->aborted);
  EXPECT_EQ(r->headers.get("X-A"), "b");
  EXPECT_TRUE(node[0]->closed);

  auto cut = proxied(base + "https:web:443/proxy/");
  EXPECT_TRUE(node.at(1)->request.tls);
  node[1]->session->write(Channel::Stdout, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
  node[1]->session->close({});
  g.loop.drain();
  EXPECT_TRUE(cut->aborted) << "half is not the whole";

  auto upgraded = proxied(base + "web:80/proxy/ws", "GET", true);
  EXPECT_THAT(node.at(2)->data[Channel::Stdin], HasSubstr("Upgrade: echo\r\n"));
  node[2]->session->write(Channel::Stdout,
                          "HTTP/1.1 101 Switching\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nfirst");
  g.loop.drain();
  ASSERT_EQ(upgraded->status, 101);
  std::string got;
  upgraded->peer->on_data([&](std::string_view bytes) { got += bytes; });
  upgraded->peer->write("ping");
  node[2]->session->write(Channel::Stdout, " second");
  g.loop.drain();
  EXPECT_EQ(got, "first second");
  EXPECT_THAT(node[2]->data[Channel::Stdin], HasSubstr("\r\n\r\nping"));
  upgraded->peer->close();
  g.loop.drain();
  EXPECT_TRUE(node[2]->closed);

  refusal = Error{Code::kUnavailable, "dial tcp 10.1.2.3:80: connection refused"};
  auto refused = proxied(base + "web:80/proxy/");
  EXPECT_EQ(refused->status, 503);
  EXPECT_EQ(message(*refused), "error trying to reach service: dial tcp 10.1.2.3:80: connection refused");
}

}  // namespace
}  // namespace gantry::apigw::testing
