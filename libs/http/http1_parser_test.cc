#include "libs/http/http1_parser.h"

#include <gtest/gtest.h>

namespace gantry::http {
namespace {

struct Recorder : Http1Sink {
  Next on_head(Http1Head h) override {
    head = std::move(h);
    return next;
  }
  bool on_body(std::string_view bytes) override {
    body += bytes;
    return accept_body;
  }
  void on_complete() override { ++complete; }

  Http1Head head;
  std::string body;
  int complete = 0;
  Next next = Next::kBody;
  bool accept_body = true;
};

class Http1ParserTest : public ::testing::Test {
 protected:
  Recorder seen;
  std::unique_ptr<Http1Parser> parser = Http1Parser::create(Http1Parser::Kind::kRequest, 1024, seen);
};

TEST_F(Http1ParserTest, StopsAtTheEndOfEachMessage) {
  std::string first = "POST /a?b HTTP/1.1\r\nHost: x\r\nX-Empty:\r\nContent-Length: 3\r\n\r\nabc";
  std::string second = "GET /c HTTP/1.0\r\n\r\n";
  EXPECT_EQ(parser->feed(first + second), first.size());
  EXPECT_EQ(seen.complete, 1);
  EXPECT_EQ(seen.head.method, "POST");
  EXPECT_EQ(seen.head.target, "/a?b");
  EXPECT_EQ(seen.head.headers.size(), 3u);
  EXPECT_TRUE(seen.head.headers.has("x-empty"));
  EXPECT_EQ(seen.head.headers.get("content-length"), "3");
  EXPECT_TRUE(seen.head.keep_alive);
  EXPECT_EQ(seen.body, "abc");
  EXPECT_TRUE(parser->idle());
  EXPECT_EQ(parser->feed(second), second.size());
  EXPECT_EQ(seen.complete, 2);
  EXPECT_FALSE(seen.head.keep_alive);
  EXPECT_EQ(seen.head.minor_version, 0);
}

TEST_F(Http1ParserTest, ByteByByteIsTheSame) {
  std::string text =
      "PUT /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3;ext\r\nabc\r\n1\r\nd\r\n0\r\nTrailer: "
      "t\r\n\r\n";
  for (char c : text) EXPECT_EQ(parser->feed({&c, 1}), 1u);
  EXPECT_EQ(seen.complete, 1);
  EXPECT_TRUE(seen.head.chunked);
  EXPECT_EQ(seen.body, "abcd");
  EXPECT_EQ(seen.head.headers.size(), 2u);
}

TEST_F(Http1ParserTest, RefusesSmuggling) {
  parser->feed("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n");
  EXPECT_EQ(parser->state(), Http1Parser::State::kMalformed);
  auto second = Http1Parser::create(Http1Parser::Kind::kRequest, 1024, seen);
  second->feed("POST / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n");
  EXPECT_EQ(second->state(), Http1Parser::State::kMalformed);
  EXPECT_EQ(seen.complete, 0);
}

TEST_F(Http1ParserTest, LimitsTheHeadIncludingTrailers) {
  parser->feed("GET / HTTP/1.1\r\nX: ");
  for (int i = 0; i < 200; ++i) parser->feed("12345678");
  EXPECT_EQ(parser->state(), Http1Parser::State::kHeadTooLarge);
}

TEST_F(Http1ParserTest, UpgradeLeavesTheRest) {
  seen.next = Http1Sink::Next::kUpgrade;
  std::string text = "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n";
  EXPECT_EQ(parser->feed(text + "raw"), text.size());
  EXPECT_TRUE(seen.head.upgrade);
}

TEST_F(Http1ParserTest, AnUpgradeNotTakenGoesOnAsHttp) {
  std::string text = "POST / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nhi";
  EXPECT_EQ(parser->feed(text), text.size());
  EXPECT_EQ(seen.body, "hi");
  EXPECT_EQ(parser->feed(text), text.size());
  EXPECT_EQ(seen.complete, 2);
}

TEST_F(Http1ParserTest, StopsWhenTheSinkSaysSo) {
  seen.accept_body = false;
  parser->feed("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc");
  EXPECT_EQ(parser->state(), Http1Parser::State::kStopped);
  EXPECT_EQ(parser->feed("x"), 0u);
}

TEST(Http1Response, EndsWithTheConnection) {
  Recorder seen;
  auto parser = Http1Parser::create(Http1Parser::Kind::kResponse, 1024, seen);
  parser->feed("HTTP/1.1 200 OK\r\n\r\nall of");
  parser->feed(" it");
  EXPECT_EQ(seen.complete, 0);
  parser->finish();
  EXPECT_EQ(seen.complete, 1);
  EXPECT_EQ(seen.body, "all of it");
  EXPECT_EQ(seen.head.status, 200);
}

}  // namespace
}  // namespace gantry::http
