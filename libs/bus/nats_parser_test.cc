#include "libs/bus/nats_parser.h"

#include <gtest/gtest.h>

#include <random>

#include "libs/bus/nats_link.h"

namespace gantry::bus {
namespace {

struct Recorder {
  std::string log;
  NatsParser parser{
      {.message =
           [this](uint64_t sid, std::string_view subject, std::string_view reply, std::string_view status,
                  std::string_view data) { log += fmt::format("{}|{}|{}|{}|{};", sid, subject, reply, status, data); },
       .info = [this](std::string_view json) { log += fmt::format("info {};", json); },
       .ping = [this] { log += "ping;"; },
       .pong = [this] { log += "pong;"; },
       .error = [this](std::string_view text) { log += fmt::format("error {};", text); }}};
};

const std::string kStream =
    "INFO {\"a\":1} \r\n+OK\r\nPING\r\nMSG a.b 7 5\r\nhello\r\nMSG a.b 8 _INBOX.x 2\r\n\r\n\r\nHMSG c 9 16 "
    "16\r\nNATS/1.0 503\r\n\r\n\r\n"
    "HMSG c 9 r 12 15\r\nNATS/1.0\r\n\r\nabc\r\npong\r\n-ERR 'Oops'\r\nMSG e 1 0\r\n\r\n";
const std::string kExpected =
    "info {\"a\":1} ;ping;7|a.b|||hello;8|a.b|_INBOX.x||\r\n;9|c||503|;9|c|r||abc;pong;error 'Oops';1|e|||;";

TEST(NatsParser, WholeAndInEveryPiece) {
  Recorder whole;
  ASSERT_TRUE(whole.parser.feed(kStream));
  EXPECT_EQ(whole.log, kExpected);
  EXPECT_EQ(whole.parser.pending(), 0u);
  for (size_t piece = 1; piece < kStream.size(); ++piece) {
    Recorder r;
    for (size_t at = 0; at < kStream.size(); at += piece) ASSERT_TRUE(r.parser.feed(kStream.substr(at, piece)));
    EXPECT_EQ(r.log, kExpected) << piece;
  }
}

TEST(NatsParser, NonsenseIsRefused) {
  for (const char* text :
       {"HELLO\r\n", "MSG a 1\r\n", "MSG a x 1\r\n", "MSG a 1 -1\r\n", "MSG a 1 99999999999999999999\r\n",
        "MSG a 1 2\r\nabcd", "HMSG a 1 5 3\r\n", "MSG a b c d e f\r\n"}) {
    Recorder r;
    EXPECT_FALSE(r.parser.feed(text)) << text;
  }
  std::mt19937 random(3);
  for (int i = 0; i < 20'000; ++i) {
    auto broken = kStream;
    for (int n = 0; n < 3; ++n) broken[random() % broken.size()] = static_cast<char>(random());
    Recorder r;
    size_t cut = random() % broken.size();
    if (r.parser.feed(broken.substr(0, cut))) (void)r.parser.feed(broken.substr(cut));
  }
}

TEST(NatsParser, StopsInACallback) {
  Recorder r;
  int pings = 0;
  NatsParser* self = nullptr;
  NatsParser parser({.ping = [&] { ++pings, self->stop(); }});
  self = &parser;
  EXPECT_TRUE(parser.feed("PING\r\nPING\r\n"));
  EXPECT_EQ(pings, 1);
}

TEST(NatsUrls, AreParsed) {
  auto urls = parse_nats_urls("tls://nats.example:4333,nats://127.0.0.1,[::1]:4222");
  ASSERT_TRUE(urls);
  ASSERT_EQ(urls->size(), 3u);
  EXPECT_EQ((*urls)[0].host + (*urls)[0].port, "nats.example4333");
  EXPECT_TRUE((*urls)[0].tls);
  EXPECT_EQ((*urls)[1].host + (*urls)[1].port, "127.0.0.14222");
  EXPECT_EQ((*urls)[2].host + (*urls)[2].port, "::14222");
  for (const char* bad : {"", "tls://", "tls://a:b", "[::1"}) EXPECT_FALSE(parse_nats_urls(bad)) << bad;
}

}  // namespace
}  // namespace gantry::bus
