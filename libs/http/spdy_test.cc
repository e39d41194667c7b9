#include "libs/http/spdy.h"

#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "libs/http/testing/fake_stream.h"

namespace gantry::http {
namespace {

using spdy::Control;
using spdy::Type;

class Recorder final : public SpdyHandler {
 public:
  void on_stream(uint32_t stream, const Headers& headers, bool fin) override {
    opened.push_back(stream);
    types[stream] = headers.get("streamtype");
    if (fin) ends.insert(stream);
    if (session) session->reply(stream);
  }
  void on_reply(uint32_t stream) override { replies.push_back(stream); }
  void on_data(uint32_t stream, std::string_view bytes, bool fin) override {
    data[stream] += bytes;
    if (fin) ends.insert(stream);
    if (consume && session) session->consume(stream, bytes.size());
  }
  void on_reset(uint32_t stream, uint32_t status) override { resets[stream] = status; }
  void on_drained() override { ++drained; }
  void on_closed(const std::string& why) override { closed = why; }

  std::shared_ptr<SpdySession> session;
  std::vector<uint32_t> opened, replies;
  std::map<uint32_t, std::string> types, data;
  std::map<uint32_t, uint32_t> resets;
  std::set<uint32_t> ends;
  std::optional<std::string> closed;
  int drained = 0;
  bool consume = true;
};

class SpdyTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto [one, other] = testing::FakeStream::pair(loop);
    near = one;
    far = other;
  }
  void both() {
    server.session = SpdySession::create(near, SpdySession::Role::kServer, server);
    client.session = SpdySession::create(far, SpdySession::Role::kClient, client);
  }
  /// A peer of bytes: what the server sends is parsed.
  struct Raw final : spdy::FrameSink {
    void on_control(const Control& frame) override { controls.push_back(frame); }
    void on_data(uint32_t stream, std::string_view bytes, bool fin) override {
      data[stream] += bytes;
      if (fin) ends.insert(stream);
    }
    const Control* find(Type type) const {
      for (const auto& c : controls) {
        if (c.type == type) return &c;
      }
      return nullptr;
    }
    spdy::FrameReader reader;
    spdy::FrameWriter writer;
    std::vector<Control> controls;
    std::map<uint32_t, std::string> data;
    std::set<uint32_t> ends;
    bool over = false;
  };
  void serve_raw() {
    server.session = SpdySession::create(near, SpdySession::Role::kServer, server);
    far->on_data([this](std::string_view bytes) { EXPECT_TRUE(raw.reader.feed(bytes, raw).ok()); });
    far->on_close([this] { raw.over = true; });
  }
  void say(const Control& frame) { far->write(raw.writer.control(frame)); }

  gantry::testing::ManualLoop loop;
  std::shared_ptr<testing::FakeStream> near, far;
  Recorder server, client;
  Raw raw;
};

TEST_F(SpdyTest, StreamsThereAndBackWithHalfClose) {
  both();
  auto in = client.session->open({{"streamType", "stdin"}});
  auto out = client.session->open({{"streamtype", "stdout"}});
  client.session->write(in, "hello");
  client.session->finish(in);
  loop.drain();
  EXPECT_EQ(server.opened, (std::vector<uint32_t>{1, 3}));
  EXPECT_EQ(server.types[1], "stdin");
  EXPECT_EQ(client.replies, (std::vector<uint32_t>{1, 3}));
  EXPECT_EQ(server.data[in], "hello");
  EXPECT_TRUE(server.ends.contains(in));
  server.session->write(in, "still open this way");
  server.session->write(out, std::string(300'000, 'x'));
  server.session->finish(out);
  loop.drain();
  EXPECT_EQ(client.data[in], "still open this way");
  EXPECT_EQ(client.data[out].size(), 300'000u);
  EXPECT_TRUE(client.ends.contains(out));
  server.session->finish(in);
  client.session->finish(out);
  loop.drain();
  EXPECT_EQ(server.session->streams() + client.session->streams(), 0u);
  client.session->close();
  loop.drain();
  EXPECT_TRUE(server.closed);
}

TEST_F(SpdyTest, HeadersOfManyStreamsShareTheirCompression) {
  both();
  for (int i = 0; i < 200; ++i) client.session->open({{"streamtype", "data"}, {"requestid", std::to_string(i)}});
  loop.drain();
  EXPECT_EQ(server.opened.size(), 200u);
  EXPECT_FALSE(server.closed);
}

TEST_F(SpdyTest, AStreamMayBeReset) {
  both();
  auto one = client.session->open({{"streamtype", "data"}});
  auto two = client.session->open({{"streamtype", "data"}});
  loop.drain();
  server.session->reset(one, SpdySession::kRefused);
  client.session->write(one, "under way");
  client.session->write(two, "lives on");
  loop.drain();
  EXPECT_EQ(client.resets[one], SpdySession::kRefused);
  EXPECT_EQ(server.data[one], "");
  EXPECT_EQ(server.data[two], "lives on");
}

TEST_F(SpdyTest, PingsComeBackAndWindowsAreGranted) {
  serve_raw();
  say({.type = Type::kSynStream, .stream = 1, .headers = {{"streamtype", "stdin"}}});
  say({.type = Type::kPing, .value = 7});
  for (int i = 0; i < 4; ++i) far->write(spdy::FrameWriter::data_head(1, 10'000, false) + std::string(10'000, 'x'));
  loop.drain();
  ASSERT_NE(raw.find(Type::kPing), nullptr);
  EXPECT_EQ(raw.find(Type::kPing)->value, 7u);
  uint32_t stream = 0, session = 0;
  for (const auto& c : raw.controls) {
    if (c.type == Type::kWindowUpdate) (c.stream == 0 ? session : stream) += c.value;
  }
  EXPECT_EQ(stream, 40'000u);
  EXPECT_EQ(session, 40'000u);
}

TEST_F(SpdyTest, APeerThatKeepsWindowsIsNotOverrun) {
  serve_raw();
  say({.type = Type::kSynStream, .stream = 1, .headers = {{"streamtype", "stdout"}}});
  say({.type = Type::kSettings, .settings = {{spdy::kSettingInitialWindow, 1000}}});
  loop.drain();
  server.session->write(1, std::string(2'500, 'x'));
  server.session->finish(1);
  loop.drain();
  EXPECT_EQ(raw.data[1].size(), 1000u);
  EXPECT_EQ(server.session->buffered(), 1500u);
  say({.type = Type::kWindowUpdate, .stream = 1, .value = 1000});
  loop.drain();
  EXPECT_EQ(raw.data[1].size(), 2000u);
  EXPECT_FALSE(raw.ends.contains(1));
  say({.type = Type::kWindowUpdate, .stream = 1, .value = 1000});
  loop.drain();
  EXPECT_EQ(raw.data[1].size(), 2500u);
  EXPECT_TRUE(raw.ends.contains(1));
}

TEST_F(SpdyTest, ASlowPeerIsToldOnce) {
  both();
  auto out = client.session->open({{"streamtype", "stdout"}});
  loop.drain();
  client.session->pause();
  server.session->write(out, std::string(kHighWater + 1, 'x'));
  loop.drain();
  EXPECT_EQ(server.drained, 0);
  client.session->resume();
  loop.drain();
  EXPECT_EQ(server.drained, 1);
  EXPECT_EQ(client.data[out].size(), kHighWater + 1);
}

TEST_F(SpdyTest, WhatBreaksTheProtocolEndsTheConnectionWithAGoaway) {
  spdy::FrameWriter writer;
  auto syn = [&](uint32_t stream) {
    return spdy::FrameWriter().control({.type = Type::kSynStream, .stream = stream, .headers = {{"a", "b"}}});
  };
  std::string big_block = spdy::FrameWriter().control(
      {.type = Type::kSynStream, .stream = 1, .headers = {{"a", std::string(100'000, 'x')}}});
  std::string many = [&] {
    Headers headers;
    for (int i = 0; i < 200; ++i) headers.add("h" + std::to_string(i), "");
    return spdy::FrameWriter().control({.type = Type::kSynStream, .stream = 1, .headers = headers});
  }();
  std::string plain = syn(1);
  plain[20] = 'x';  // in the compressed block
  std::map<std::string, std::string> bad = {
      {"HTTP", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"},
      {"another version", std::string("\x80\x02\x00\x01\x00\x00\x00\x00", 8)},
      {"a huge control frame", std::string("\x80\x03\x00\x01\x00\xff\xff\xff", 8)},
      {"a short SYN_STREAM", std::string("\x80\x03\x00\x01\x00\x00\x00\x02\x00\x00", 10)},
      {"a short PING", std::string("\x80\x03\x00\x06\x00\x00\x00\x00", 8)},
      {"a SETTINGS that lies", std::string("\x80\x03\x00\x04\x00\x00\x00\x04\x00\x00\x00\x09", 12)},
      {"an even stream", syn(2)},
      {"stream 0", syn(0)},
      {"data on stream 0", std::string("\x00\x00\x00\x00\x00\x00\x00\x00", 8)},
      {"headers that do not decompress", plain},
      {"headers that are too large", big_block},
      {"too many headers", many},
  };
  for (const auto& [name, bytes] : bad) {
    auto [one, other] = testing::FakeStream::pair(loop);
    Recorder handler;
    handler.session = SpdySession::create(one, SpdySession::Role::kServer, handler);
    Raw peer;
    other->on_data([&](std::string_view answer) { EXPECT_TRUE(peer.reader.feed(answer, peer).ok()); });
    bool over = false;
    other->on_close([&] { over = true; });
    other->write(bytes);
    // A text of HTTP begins as a data frame of some length: silence, not an answer, until its end.
    if (name == "HTTP") other->close();
    loop.drain();
    EXPECT_TRUE(handler.closed) << name;
    if (name == "HTTP") continue;
    EXPECT_TRUE(over) << name;
    ASSERT_NE(peer.find(Type::kGoAway), nullptr) << name;
    EXPECT_EQ(peer.find(Type::kGoAway)->value, SpdySession::kProtocolError) << name;
  }
}

TEST_F(SpdyTest, StreamsOutOfOrderOrTwiceAreRefused) {
  serve_raw();
  say({.type = Type::kSynStream, .stream = 3, .headers = {{"streamtype", "a"}}});
  say({.type = Type::kSynStream, .stream = 1, .headers = {{"streamtype", "b"}}});
  loop.drain();
  EXPECT_TRUE(server.closed);
  EXPECT_EQ(server.opened, std::vector<uint32_t>{3});
}

TEST_F(SpdyTest, DataForAStreamNobodyOpenedIsAnswered) {
  serve_raw();
  far->write(spdy::FrameWriter::data_head(5, 2, false) + "hi");
  loop.drain();
  ASSERT_NE(raw.find(Type::kRstStream), nullptr);
  EXPECT_EQ(raw.find(Type::kRstStream)->value, SpdySession::kInvalidStream);
  EXPECT_FALSE(server.closed);
}

TEST_F(SpdyTest, AHandlerMayLetGoInACallback) {
  class Dropper final : public SpdyHandler {
   public:
    void on_stream(uint32_t, const Headers&, bool) override {
      session->detach();
      session.reset();
    }
    void on_data(uint32_t, std::string_view, bool) override { FAIL(); }
    void on_reset(uint32_t, uint32_t) override {}
    void on_closed(const std::string&) override {}
    std::shared_ptr<SpdySession> session;
  } dropper;
  dropper.session = SpdySession::create(near, SpdySession::Role::kServer, dropper);
  near.reset();
  bool over = false;
  far->on_close([&] { over = true; });
  far->on_data([](std::string_view) {});
  say({.type = Type::kSynStream, .stream = 1, .headers = {{"streamtype", "a"}}});
  far->write(spdy::FrameWriter::data_head(1, 2, false) + "hi");
  loop.drain();
  EXPECT_TRUE(over);
}

}  // namespace
}  // namespace gantry::http
