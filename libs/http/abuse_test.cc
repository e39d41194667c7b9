// HTTP/2 as no library speaks it: frames made by hand. Whatever a peer does, others are served and what it holds is
// bounded.
#include "libs/http/testing/test_server.h"

namespace gantry::http {
namespace {

using std::chrono::milliseconds;
using testing::RawConnection;
using testing::ServerTest;

enum FrameType : uint8_t {
  kData,
  kHeaders,
  kPriority,
  kReset,
  kSettings,
  kPush,
  kPing,
  kGoaway,
  kWindow,
  kContinuation
};
constexpr uint8_t kEndStream = 1, kEndHeaders = 4;
constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

std::string number(uint64_t value, int bytes) {
  std::string out;
  for (int i = bytes - 1; i >= 0; --i) out += static_cast<char>(value >> (8 * i) & 255);
  return out;
}

std::string frame(uint8_t type, uint8_t flags, uint32_t stream, const std::string& payload = "") {
  return number(static_cast<uint32_t>(payload.size()), 3) + number(type, 1) + number(flags, 1) + number(stream, 4) +
         payload;
}

std::string literal(const std::string& text) { return number(static_cast<uint32_t>(text.size()), 1) + text; }
/// A header block: method GET (or POST), http, a path and a host.
std::string head(const std::string& path, bool post = false) {
  return std::string(post ? "\x83\x86" : "\x82\x86") + "\x04" + literal(path) + "\x41" + literal("x");
}
std::string get(uint32_t stream, const std::string& path) {
  return frame(kHeaders, kEndStream | kEndHeaders, stream, head(path));
}

std::string repeated(const std::string& text, size_t times) {
  std::string out;
  out.reserve(text.size() * times);
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

class AbuseTest : public ServerTest {
 protected:
  /// Frames of a type that have come.
  static size_t frames(const RawConnection& raw, uint8_t type) {
    size_t n = 0;
    for (size_t at = 0; at + 9 <= raw.input.size();) {
      const auto byte = [&](size_t i) { return static_cast<size_t>(static_cast<unsigned char>(raw.input[at + i])); };
      n += byte(3) == type;
      at += 9 + (byte(0) << 16 | byte(1) << 8 | byte(2));
    }
    return n;
  }
  bool over(const RawConnection& raw) { return raw.eof || raw.closed; }
  void others_are_served() {
    RawConnection other(loop, server->port());
    other.write("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
    EXPECT_TRUE(wait([&] { return other.input.ends_with("hello\n"); })) << other.input;
  }
};

TEST_F(AbuseTest, FramesMadeByHandAreUnderstood) {
  serve(false);
  RawConnection raw(loop, server->port());
  raw.write(std::string(kPreface) + frame(kSettings, 0, 0) + get(1, "/hello"));
  ASSERT_TRUE(wait([&] { return raw.input.ends_with("hello\n") || frames(raw, kData) > 0; }));
}

TEST_F(AbuseTest, AWindowThatNeverOpens) {
  options.write_timeout = milliseconds(150);
  serve(false);
  routes["/much"] = [&](Request, std::shared_ptr<Responder> responder) {
    responder->send(200, {}, std::string(1024 * 1024, 'x'));
  };
  RawConnection raw(loop, server->port());
  raw.write(std::string(kPreface) + frame(kSettings, 0, 0, number(4, 2) + number(0, 4)));
  for (uint32_t id = 1; id < 100; id += 2) raw.write(get(id, "/much"));
  ASSERT_TRUE(wait([&] { return frames(raw, kReset) == 50; })) << frames(raw, kReset);
  EXPECT_EQ(server->stats().refused, 50u);
  others_are_served();
}

TEST_F(AbuseTest, WhoTakesNoAnswersGetsNoMore) {
  options.max_held_of_connection = 3 * 1024 * 1024;
  options.max_held_bytes = 5 * 1024 * 1024;
  serve(false);
  routes["/much"] = [&](Request, std::shared_ptr<Responder> responder) {
    responder->send(200, {}, std::string(1024 * 1024, 'x'));
  };
  RawConnection first(loop, server->port()), second(loop, server->port());
  for (auto* raw : {&first, &second}) {
    raw->write(std::string(kPreface) + frame(kSettings, 0, 0, number(4, 2) + number(0, 4)));
    for (uint32_t id = 1; id < 20; id += 2) raw->write(get(id, "/much"));
    ASSERT_TRUE(wait([&] { return frames(*raw, kHeaders) == 10; }));
  }
  EXPECT_EQ(server->stats().refused, 6u + 9u) << "four answers for the first, one for the second";
  // Who has taken what it asked for is served.
  RawConnection good(loop, server->port());
  good.write(std::string(kPreface) + frame(kSettings, 0, 0) + get(1, "/hello"));
  EXPECT_TRUE(wait([&] { return good.input.find("hello") != std::string::npos; }));
  first.close();
  second.close();
  ASSERT_TRUE(wait([&] { return server->stats().connections == 1; }));
  good.write(get(3, "/much") + get(5, "/much"));
  EXPECT_TRUE(wait([&] { return frames(good, kHeaders) == 3; }));
  EXPECT_EQ(server->stats().refused, 15u) << "given back";
}

TEST_F(AbuseTest, FloodsOfFramesThatWantAnAnswerAndAreNotRead) {
  serve(false);
  for (const std::string& one :
       {frame(kPing, 0, 0, "12345678"), frame(kSettings, 0, 0), get(1, "/hello"), frame(kReset, 0, 1, number(8, 4)),
        frame(kWindow, 0, 0, number(1, 4)), frame(kPriority, 0, 3, number(0, 5)), frame(99, 0, 0, "unknown")}) {
    RawConnection raw(loop, server->port());
    raw.pause();
    raw.write(std::string(kPreface) + frame(kSettings, 0, 0) + repeated(one, 100'000));
    others_are_served();
    raw.close();
  }
}

TEST_F(AbuseTest, HeadersWithoutEnd) {
  serve(false);
  RawConnection raw(loop, server->port());
  raw.write(std::string(kPreface) + frame(kSettings, 0, 0) + frame(kHeaders, 0, 1, head("/hello")));
  // A literal that is not indexed, 16 kB at a time.
  const auto more =
      frame(kContinuation, 0, 1, repeated(std::string("\x00\x01", 2) + "a" + literal(std::string(100, 'b')), 150));
  raw.write(repeated(more, 500));
  EXPECT_TRUE(wait([&] { return over(raw); }));
  others_are_served();
}

TEST_F(AbuseTest, HeadersThatStallAreNotWaitedFor) {
  options.header_timeout = milliseconds(100);
  serve(false);
  RawConnection raw(loop, server->port());
  raw.write(std::string(kPreface) + frame(kSettings, 0, 0) + frame(kHeaders, 0, 1, head("/hello")));
  EXPECT_TRUE(wait([&] { return over(raw); }));
  EXPECT_TRUE(seen.empty());
}

TEST_F(AbuseTest, AFewBytesThatStandForMegabytesOfHeaders) {
  serve(false);
  RawConnection raw(loop, server->port());
  // One header of 3 kB goes to the table, and a byte each names it again.
  const std::string large = std::string("\x40\x01") + "a" + "\x7f" + "\xb9\x16" + std::string(3000, 'b');
  raw.write(std::string(kPreface) + frame(kSettings, 0, 0) +
            frame(kHeaders, kEndStream | kEndHeaders, 1, head("/hello") + large + std::string(10'000, '\xbe')));
  ASSERT_TRUE(wait([&] { return over(raw) || frames(raw, kHeaders) + frames(raw, kReset) > 0; }));
  EXPECT_TRUE(seen.empty());
  others_are_served();
}

TEST_F(AbuseTest, EmptyPiecesOfABodyDoNotKeepItOpen) {
  options.body_timeout = milliseconds(100);
  serve(false);
  RawConnection raw(loop, server->port());
  raw.write(std::string(kPreface) + frame(kSettings, 0, 0) + frame(kHeaders, kEndHeaders, 1, head("/echo", true)));
  auto trickle = loop.every(milliseconds(1), [&] { raw.write(repeated(frame(kData, 0, 1), 20)); });
  EXPECT_TRUE(wait([&] { return over(raw) || frames(raw, kHeaders) > 0; }));  // 408
  EXPECT_TRUE(seen.empty());
}

TEST_F(AbuseTest, WhatBreaksTheProtocolEndsTheConnection) {
  serve(false);
  for (const std::string& bad :
       {frame(kData, 0, 0, "x"), frame(kData, 0, 1, "x"), frame(kHeaders, kEndHeaders, 0, head("/hello")),
        frame(kHeaders, kEndHeaders, 2, head("/hello")), frame(kHeaders, kEndHeaders, 1, "\xff\xff\xff\xff\xff\xff"),
        frame(kSettings, 0, 1), frame(kSettings, 0, 0, "x"),
        frame(kSettings, 0, 0, number(4, 2) + number(0xffffffff, 4)), frame(kWindow, 0, 0, number(0, 4)),
        frame(kWindow, 0, 0, number(0x7fffffff, 4)), frame(kPing, 0, 0, "short"),
        frame(kPush, kEndHeaders, 1, number(2, 4)), frame(kContinuation, 0, 1, "x"), frame(kGoaway, 0, 1, "x"),
        frame(kHeaders, 0, 1, head("/hello")) + frame(kPing, 0, 0, "12345678"), std::string(100, '\xff')}) {
    RawConnection raw(loop, server->port());
    raw.write(std::string(kPreface) + frame(kSettings, 0, 0) + bad);
    EXPECT_TRUE(wait([&] { return over(raw); })) << ::testing::PrintToString(bad.substr(0, 40));
  }
  others_are_served();
}

TEST_F(AbuseTest, RequestsWithoutWhatARequestNeeds) {
  serve(false);
  const std::string method = "\x82", scheme = "\x86", path = "\x84";
  for (const std::string& bad :
       {method + scheme, method + path, scheme + path, method + method + scheme + path, method + scheme + path + path,
        head("/hello") + std::string("\x00\x01", 2) + "A" + literal("b"),               // upper case
        head("/hello") + std::string("\x00\x0a", 2) + "connection" + literal("close"),  // of HTTP/1
        head("/hello") + std::string("\x00\x05", 2) + ":late" + literal("b"), head("hello"), head("/%zz"), head("")}) {
    RawConnection raw(loop, server->port());
    raw.write(std::string(kPreface) + frame(kSettings, 0, 0) + frame(kHeaders, kEndStream | kEndHeaders, 1, bad));
    EXPECT_TRUE(wait([&] { return over(raw) || frames(raw, kReset) > 0 || frames(raw, kHeaders) > 0; }))
        << ::testing::PrintToString(bad);
  }
  EXPECT_TRUE(seen.empty());
}

TEST_F(AbuseTest, RequestsThatWaitForTheirAnswerCountAgainstTheLimit) {
  options.max_receiving_bytes = 10'000;
  serve(false);
  std::vector<std::shared_ptr<Responder>> working;
  routes["/work"] = [&](Request, std::shared_ptr<Responder> responder) { working.push_back(responder); };
  const auto post = [](const std::string& body) {
    return fmt::format("POST /work HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n{}", body.size(), body);
  };
  RawConnection first(loop, server->port()), second(loop, server->port());
  first.write(post(std::string(8'000, 'a')));
  ASSERT_TRUE(wait([&] { return working.size() == 1; }));
  second.write(post(std::string(3'000, 'a')));
  ASSERT_TRUE(wait([&] { return second.eof; }));
  EXPECT_TRUE(second.input.starts_with("HTTP/1.1 503 ")) << second.input;
  RawConnection h2(loop, server->port());
  h2.write(std::string(kPreface) + frame(kSettings, 0, 0) + frame(kHeaders, kEndHeaders, 1, head("/work", true)) +
           frame(kData, kEndStream, 1, std::string(3'000, 'a')));
  ASSERT_TRUE(wait([&] { return frames(h2, kData) > 0; }));
  EXPECT_NE(h2.input.find("try again"), std::string::npos);
  working[0]->send(200, {}, "done");
  ASSERT_TRUE(wait([&] { return first.input.ends_with("done"); }));
  RawConnection third(loop, server->port());
  third.write(post(std::string(9'000, 'a')));
  EXPECT_TRUE(wait([&] { return working.size() == 2; })) << "given back";
  third.close();
  EXPECT_TRUE(wait([&] { return working[1]->closed(); }));
  RawConnection fourth(loop, server->port());
  fourth.write(post(std::string(9'000, 'a')));
  EXPECT_TRUE(wait([&] { return working.size() == 3; })) << "given back by who goes";
}

}  // namespace
}  // namespace gantry::http
