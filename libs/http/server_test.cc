// The server against the real curl and the library's own client: plain, TLS, HTTP/1.1 and HTTP/2.
#include "libs/http/testing/test_server.h"

namespace gantry::http {
namespace {

using testing::ServerTest;

/// How a client speaks: with TLS or not, HTTP/1.1 or HTTP/2.
struct Way {
  const char* name;
  bool tls;
  const char* flag;
  Version version;
};

void PrintTo(const Way& way, std::ostream* out) { *out << way.name; }

class EveryWay : public ServerTest, public ::testing::WithParamInterface<Way> {
 protected:
  void SetUp() override { way = GetParam(); }
  testing::Finished get(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), way.flag);
    return curl(std::move(arguments));
  }
  Way way;
};

INSTANTIATE_TEST_SUITE_P(Server, EveryWay,
                         ::testing::Values(Way{"plain", false, "--http1.1", Version::kHttp11},
                                           Way{"http10", false, "--http1.0", Version::kHttp10},
                                           Way{"h2c", false, "--http2-prior-knowledge", Version::kHttp2},
                                           Way{"tls", true, "--http1.1", Version::kHttp11},
                                           Way{"h2", true, "--http2", Version::kHttp2}),
                         [](const auto& info) { return info.param.name; });

TEST_P(EveryWay, AnswersWithWhatWasAsked) {
  serve(way.tls);
  auto got = get({"-i", "-H", "X-Test: a b", "/hello?x=1&x=2%203"});
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_TRUE(got.out.ends_with("hello\n")) << got.out;
  EXPECT_NE(got.out.find(" 200"), std::string::npos);
  EXPECT_TRUE(got.out.find("\r\ndate: ") != std::string::npos || got.out.find("\r\nDate: ") != std::string::npos)
      << got.out;
  ASSERT_EQ(seen.size(), 1u);
  EXPECT_EQ(seen[0].method, "GET");
  EXPECT_EQ(seen[0].raw_path, "/hello");
  EXPECT_EQ(seen[0].version, way.version);
  EXPECT_EQ(seen[0].secure, way.tls);
  EXPECT_EQ(seen[0].headers.get("x-test"), "a b");
  EXPECT_EQ(seen[0].headers.get("Host"), fmt::format("127.0.0.1:{}", server->port()));
  EXPECT_EQ(seen[0].query.all("x"), (std::vector<std::string_view>{"1", "2 3"}));
  EXPECT_TRUE(seen[0].remote_address.starts_with("127.0.0.1:"));
  EXPECT_EQ(seen[0].peer, nullptr);
  EXPECT_FALSE(seen[0].is_upgrade);
}

TEST_P(EveryWay, HeadAndNoContentHaveNoBody) {
  serve(way.tls);
  routes["/nothing"] = [](Request, std::shared_ptr<Responder> responder) { responder->send(204, {}, "not sent"); };
  auto got = get({"--head", "/hello"});
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_EQ(got.out.find("hello"), std::string::npos);
  EXPECT_TRUE(got.out.find("ontent-length: 6") != std::string::npos ||
              got.out.find("Content-Length: 6") != std::string::npos)
      << got.out;
  got = get({"-w", "%{http_code}", "/nothing"});
  EXPECT_EQ(got.out, "204");
}

TEST_P(EveryWay, TakesThreeMebibytesAndGivesThemBack) {
  serve(way.tls);
  std::string body(3 * 1024 * 1024, 'x');
  for (size_t i = 0; i < body.size(); i += 1000) body[i] = static_cast<char>('a' + i % 26);
  auto file = dir.write("upload", body);
  auto got = get({"-X", "POST", "-H", "Content-Type: application/octet-stream", "--data-binary", "@" + file, "/echo"});
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_TRUE(got.out == body) << got.out.size();
}

TEST_P(EveryWay, TakesABodyOfUnknownLength) {
  if (way.version == Version::kHttp10) GTEST_SKIP() << "needs chunks";
  serve(way.tls);
  auto file = dir.write("upload", std::string(200'000, 'y'));
  auto got = get({"-X", "PUT", "-H", "Transfer-Encoding: chunked", "-T", file, "/size"});
  EXPECT_EQ(got.out, "PUT 200000\n") << got.err;
}

TEST_P(EveryWay, ContinuesWhenExpected) {
  if (way.version == Version::kHttp10) GTEST_SKIP() << "an expectation of HTTP/1.0 is ignored";
  serve(way.tls);
  auto file = dir.write("upload", std::string(100'000, 'z'));
  // curl would wait a minute for the 100: longer than its --max-time here.
  auto got =
      get({"-v", "--expect100-timeout", "60", "-H", "Expect: 100-continue", "--data-binary", "@" + file, "/size"});
  EXPECT_EQ(got.out, "POST 100000\n") << got.err;
}

TEST_P(EveryWay, RefusesABodyThatIsTooLarge) {
  options.max_body_bytes = 100'000;
  options.render_error = [](int status, std::string_view message) {
    return std::pair{fmt::format("{{\"code\":{},\"message\":\"{}\"}}", status, message),
                     std::string("application/json")};
  };
  serve(way.tls);
  auto file = dir.write("upload", std::string(2'000'000, 'z'));
  auto got = get({"-w", " %{http_code} %{content_type}", "--data-binary", "@" + file, "/size"});
  EXPECT_TRUE(got.out.ends_with(" 413 application/json")) << got.out << got.err;
  EXPECT_NE(got.out.find("\"code\":413"), std::string::npos);
  if (way.version != Version::kHttp10) {
    got = get(
        {"-w", " %{http_code}", "-X", "PUT", "-H", "Transfer-Encoding: chunked", "-H", "Expect:", "-T", file, "/size"});
    EXPECT_TRUE(got.out.ends_with(" 413")) << got.out << got.err;
  }
  EXPECT_TRUE(seen.empty());
  EXPECT_GE(server->stats().refused, 1u);
}

TEST_P(EveryWay, RefusesHeadersThatAreTooLarge) {
  options.max_header_bytes = 4096;
  serve(way.tls);
  auto got = get({"-w", " %{http_code}", "-H", "X-Large: " + std::string(8000, 'x'), "/hello"});
  EXPECT_TRUE(got.out.ends_with(" 431")) << got.out << got.err;
  EXPECT_TRUE(seen.empty());
}

TEST_P(EveryWay, RefusesABrokenPath) {
  serve(way.tls);
  EXPECT_TRUE(get({"-w", " %{http_code}", "/a%zz"}).out.ends_with(" 400"));
  EXPECT_TRUE(get({"-w", " %{http_code}", "/a?x=%4"}).out.ends_with(" 400"));
  EXPECT_TRUE(seen.empty());
}

TEST_P(EveryWay, StreamsAThousandEvents) {
  serve(way.tls);
  auto got = get({"--no-buffer", "/stream?n=1000&size=1024"});
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_EQ(got.out.size(), 1000u * 1024u);
  EXPECT_EQ(std::count(got.out.begin(), got.out.end(), '\n'), 1000);
  EXPECT_NE(got.out.find("event 999"), std::string::npos);
}

TEST_P(EveryWay, EventsArriveWhileTheStreamIsOpen) {
  serve(way.tls);
  std::shared_ptr<Responder> watch;
  bool closed = false;
  routes["/watch"] = [&](Request, std::shared_ptr<Responder> responder) {
    watch = responder;
    watch->start(200, {}, Length::kEndless);
    watch->on_close([&] { closed = true; });
  };
  testing::Process client(loop, {"curl", "--silent", "--no-buffer", "--cacert", ca.ca_file(), way.flag, url("/watch")});
  ASSERT_TRUE(wait([&] { return watch != nullptr; }));
  for (int i = 0; i < 20; ++i) {
    std::string event = fmt::format("{{\"event\":{}}}\n", i);
    watch->write(event);
    ASSERT_TRUE(wait([&] { return client.out().ends_with(event); })) << i;
  }
  EXPECT_EQ(server->stats().active, 1u);
  client.kill();
  EXPECT_TRUE(wait([&] { return closed; })) << "the client's going away was not noticed";
  EXPECT_TRUE(watch->closed());
  EXPECT_EQ(server->stats().active, 0u);
  watch->write("into the void");
  watch->end();
}

TEST_P(EveryWay, AnUnansweredRequestIsA500AndABrokenStreamAnError) {
  serve(way.tls);
  routes["/drop"] = [](Request, std::shared_ptr<Responder>) {};
  routes["/throw"] = [](Request, std::shared_ptr<Responder>) { throw std::runtime_error("bad"); };
  routes["/half"] = [](Request, std::shared_ptr<Responder> responder) {
    responder->start(200, {});
    responder->write("half");
  };
  EXPECT_EQ(get({"-o", "/dev/null", "-w", "%{http_code}", "/drop"}).out, "500");
  EXPECT_EQ(get({"-o", "/dev/null", "-w", "%{http_code}", "/throw"}).out, "500");
  // Without chunks the end of the connection is the end of the body: HTTP/1.0 cannot tell.
  if (way.version != Version::kHttp10) {
    EXPECT_NE(get({"/half"}).status, 0);
  }
  EXPECT_EQ(server->stats().active, 0u);
}

TEST_P(EveryWay, AnswersLater) {
  serve(way.tls);
  routes["/later"] = [this](Request, std::shared_ptr<Responder> responder) {
    loop.post([responder] { responder->send(202, {}, "later"); });
  };
  EXPECT_EQ(get({"-w", " %{http_code}", "/later"}).out, "later 202");
}

TEST_P(EveryWay, ManyRequestsOverOneConnection) {
  serve(way.tls);
  if (way.name == std::string("h2c")) GTEST_SKIP() << "curl 7.88 cannot reuse a connection of prior knowledge";
  std::vector<std::string> arguments(50, url("/hello"));
  arguments.push_back("/hello");
  auto got = get(arguments);
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_EQ(got.out.size(), 51u * 6u) << got.err;
  EXPECT_EQ(server->stats().requests, 51u);
  EXPECT_EQ(server->stats().accepted, way.version == Version::kHttp10 ? 51u : 1u);
}

TEST_F(ServerTest, AnOfferOfH2cIsIgnored) {
  serve(false);
  auto got = curl({"--http2", "-d", "body", "/size"});
  EXPECT_EQ(got.out, "POST 4\n") << got.err;
  EXPECT_EQ(seen[0].version, Version::kHttp11);
}

TEST_F(ServerTest, ClientCertificatesNameUserAndGroups) {
  serve(true);
  auto alice = ca.client("alice", {"system:masters", "devs"});
  for (const char* version : {"--http1.1", "--http2"}) {
    EXPECT_EQ(curl({version, "--cert", alice.cert, "--key", alice.key, "/who"}).out, "alice:system:masters,devs");
    EXPECT_EQ(curl({version, "/who"}).out, "anonymous");
  }
  EXPECT_FALSE(seen[0].peer->serial.empty());
  EXPECT_GT(seen[0].peer->not_after, 1'700'000'000);
}

TEST_F(ServerTest, ABadClientCertificateFailsTheHandshake) {
  serve(true);
  testing::TestCa other(dir.path(), "other-ca");
  auto mallory = other.client("mallory", {"system:masters"});
  auto late = ca.client("late", {}, true);
  auto misused = ca.server("misused");
  for (const auto& files : {mallory, late, misused}) {
    EXPECT_NE(curl({"--cert", files.cert, "--key", files.key, "/who"}).status, 0);
  }
  EXPECT_TRUE(seen.empty());
  EXPECT_TRUE(wait([&] { return server->stats().handshake_failures == 3; }));
  EXPECT_TRUE(wait([&] { return server->stats().connections == 0; }));
}

TEST_F(ServerTest, OldTlsAndPlainTextAreRefused) {
  serve(true);
  EXPECT_NE(curl({"--tls-max", "1.1", "/hello"}).status, 0);
  EXPECT_EQ(curl({"--tls-max", "1.2", "/hello"}).out, "hello\n");
  testing::RawConnection raw(loop, server->port());
  raw.write("GET / HTTP/1.1\r\n\r\n");
  EXPECT_TRUE(wait([&] { return raw.closed || raw.eof; }));
  EXPECT_EQ(seen.size(), 1u);
}

TEST_F(ServerTest, ReloadsCertificates) {
  serve(true);
  EXPECT_EQ(curl({"/hello"}).out, "hello\n");
  testing::TestCa other(dir.path(), "other-ca");
  auto fresh = other.server("fresh");
  std::rename(fresh.cert.c_str(), server_cert.cert.c_str());
  EXPECT_FALSE(server->reload_certificates().ok()) << "the key does not fit";
  EXPECT_EQ(curl({"/hello"}).out, "hello\n") << "the old ones stay";
  std::rename(fresh.key.c_str(), server_cert.key.c_str());
  ASSERT_TRUE(server->reload_certificates().ok());
  EXPECT_NE(curl({"/hello"}).status, 0) << "signed by another CA now";
}

TEST_F(ServerTest, StartErrorsNameTheCause) {
  auto message = [&](ServerOptions o) {
    Server broken(loop, std::move(o), nullptr);
    Status status = broken.start();
    return status.ok() ? std::string("ok") : status.error().message;
  };
  EXPECT_NE(message({.listen = "nowhere"}).find("\"nowhere\""), std::string::npos);
  EXPECT_NE(message({.listen = "127.0.0.1:99999"}).find("99999"), std::string::npos);
  EXPECT_NE(message({.listen = "192.0.2.1:0"}).find("192.0.2.1"), std::string::npos);
  EXPECT_NE(message({.tls_cert_file = "/no/cert", .tls_key_file = "/no/key"}).find("/no/cert"), std::string::npos);
  serve(false);
  EXPECT_NE(message({.listen = fmt::format("127.0.0.1:{}", server->port())}).find("in use"), std::string::npos);
  EXPECT_EQ(message({.listen = "[::1]:0"}), "ok");
}

}  // namespace
}  // namespace gantry::http
