// What a peer may not do: be slow, send too much, not read, reset without end.
#include <nghttp2/nghttp2.h>

#include "libs/http/testing/test_server.h"

namespace gantry::http {
namespace {

using std::chrono::milliseconds;
using testing::RawConnection;
using testing::ServerTest;

constexpr std::string_view kHello = "GET /hello HTTP/1.1\r\nHost: x\r\n\r\n";

size_t count(std::string_view text, std::string_view piece) {
  size_t n = 0;
  for (size_t at = text.find(piece); at != std::string_view::npos; at = text.find(piece, at + 1)) ++n;
  return n;
}

class LimitsTest : public ServerTest {};

TEST_F(LimitsTest, PipelinedRequestsAreAnsweredInOrder) {
  serve(false);
  std::vector<std::shared_ptr<Responder>> waiting;
  routes["/wait"] = [&](Request, std::shared_ptr<Responder> responder) { waiting.push_back(responder); };
  RawConnection raw(loop, server->port());
  raw.write("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n" + std::string(kHello) +
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nlast");
  ASSERT_TRUE(wait([&] { return !waiting.empty(); }));
  EXPECT_EQ(seen.size(), 1u) << "the second must wait for the first answer";
  waiting[0]->send(200, {}, "first");
  ASSERT_TRUE(wait([&] { return raw.input.ends_with("last"); }));
  EXPECT_LT(raw.input.find("first"), raw.input.find("hello"));
  EXPECT_EQ(count(raw.input, "HTTP/1.1 200 OK"), 3u);
}

TEST_F(LimitsTest, APipelineWithoutReadingIsBounded) {
  serve(false);
  RawConnection raw(loop, server->port());
  raw.pause();
  std::string many;
  for (int i = 0; i < 20'000; ++i) many += "GET /stream?n=1&size=4096 HTTP/1.1\r\nHost: x\r\n\r\n";
  raw.write(many);
  ASSERT_TRUE(wait([&] { return seen.size() > 10; }));
  for (size_t before = 0; before != seen.size();) {  // until nothing moves any more
    before = seen.size();
    bool later = false;
    Timer timer = loop.after(milliseconds(100), [&] { later = true; });
    wait([&] { return later; });
  }
  EXPECT_LT(seen.size(), 5000u);
  raw.resume();
  // 80 MB: each byte is looked at once.
  constexpr std::string_view kEnd = "0\r\n\r\n";
  size_t ends = 0, from = 0;
  const auto all_ended = [&] {
    for (size_t at = 0; (at = raw.input.find(kEnd, from)) != std::string::npos; ++ends) from = at + kEnd.size();
    from = std::max(from, raw.input.size() - std::min(raw.input.size(), kEnd.size()));
    return ends == 20'000;
  };
  ASSERT_TRUE(wait(all_ended)) << seen.size();
}

TEST_F(LimitsTest, HeadersMustComeInTime) {
  options.header_timeout = milliseconds(100);
  serve(false);
  RawConnection slow(loop, server->port()), silent(loop, server->port());
  slow.write("GET /hello HTTP/1.1\r\nHos");
  ASSERT_TRUE(wait([&] { return slow.eof && silent.eof; }));
  EXPECT_TRUE(slow.input.starts_with("HTTP/1.1 408 ")) << slow.input;
  EXPECT_EQ(silent.input, "");
  EXPECT_TRUE(seen.empty());
}

TEST_F(LimitsTest, TheHandshakeMustComeInTime) {
  options.header_timeout = milliseconds(100);
  serve(true);
  RawConnection silent(loop, server->port());
  ASSERT_TRUE(wait([&] { return silent.eof || silent.closed; }));
}

TEST_F(LimitsTest, TheBodyMustComeInTime) {
  options.body_timeout = milliseconds(100);
  serve(false);
  RawConnection slow(loop, server->port());
  slow.write("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf");
  ASSERT_TRUE(wait([&] { return slow.eof; }));
  EXPECT_TRUE(slow.input.starts_with("HTTP/1.1 408 ")) << slow.input;
}

TEST_F(LimitsTest, AnIdleConnectionIsClosedAndABusyOneIsNot) {
  options.idle_timeout = milliseconds(100);
  serve(false);
  std::shared_ptr<Responder> kept;
  routes["/wait"] = [&](Request, std::shared_ptr<Responder> responder) { kept = responder; };
  RawConnection idle(loop, server->port()), busy(loop, server->port());
  busy.write("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
  idle.write(kHello);
  ASSERT_TRUE(wait([&] { return idle.eof && kept; }));
  EXPECT_TRUE(idle.input.ends_with("hello\n"));
  bool later = false;
  Timer timer = loop.after(milliseconds(300), [&] { later = true; });
  wait([&] { return later; });
  EXPECT_FALSE(busy.eof);
  kept->send(200, {}, "done");
  EXPECT_TRUE(wait([&] { return busy.input.ends_with("done"); }));
}

TEST_F(LimitsTest, MalformedRequestsAreRefused) {
  serve(false);
  for (std::string text : {"nonsense\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "GET hello HTTP/1.1\r\nHost: x\r\n\r\n",
                           "CONNECT a:1 HTTP/1.1\r\nHost: x\r\n\r\n",
                           "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
                           "POST / HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\nContent-Length: 1\r\n\r\n",
                           "GET / HTTP/3.0\r\nHost: x\r\n\r\n"}) {
    RawConnection raw(loop, server->port());
    raw.write(text);
    ASSERT_TRUE(wait([&] { return raw.eof; })) << text;
    EXPECT_TRUE(raw.input.starts_with("HTTP/1.1 4")) << text << raw.input;
  }
  EXPECT_TRUE(seen.empty());
}

TEST_F(LimitsTest, ProxyFormAndEmptyLinesAreUnderstood) {
  serve(false);
  RawConnection raw(loop, server->port());
  raw.write("\r\n\r\nGET http://x:1/hello?a=b HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(wait([&] { return raw.input.ends_with("hello\n"); }));
  EXPECT_EQ(seen[0].target, "/hello?a=b");
}

TEST_F(LimitsTest, AHandlerCannotBreakTheFraming) {
  serve(false);
  routes["/bad"] = [](Request, std::shared_ptr<Responder> responder) {
    responder->send(200, {{"X-A", "1\r\nX-Evil: 2"}, {"Content-Length", "999"}, {"Transfer-Encoding", "chunked"}},
                    "ok");
  };
  RawConnection raw(loop, server->port());
  raw.write("GET /bad HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(wait([&] { return raw.input.ends_with("ok"); }));
  EXPECT_EQ(raw.input.find("\nX-Evil"), std::string::npos);
  EXPECT_EQ(raw.input.find("chunked"), std::string::npos);
  EXPECT_NE(raw.input.find("Content-Length: 2\r\n"), std::string::npos);
}

TEST_F(LimitsTest, BodiesUnderWayHaveACommonLimit) {
  options.max_receiving_bytes = 1000;
  serve(false);
  RawConnection first(loop, server->port()), second(loop, server->port());
  first.write("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n" + std::string(800, 'a'));
  ASSERT_TRUE(wait([&] { return server->stats().connections == 2; }));
  loop.run_once(false);
  second.write("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n\r\n" + std::string(300, 'a'));
  ASSERT_TRUE(wait([&] { return second.eof; }));
  EXPECT_TRUE(second.input.starts_with("HTTP/1.1 503 ")) << second.input;
  first.write(std::string(100, 'a'));
  ASSERT_TRUE(wait([&] { return first.input.starts_with("HTTP/1.1 200 ") && first.input.ends_with("aaa"); }))
      << "given back when done";
}

TEST_F(LimitsTest, TooManyConnectionsAreClosed) {
  options.max_connections = 2;
  serve(false);
  RawConnection a(loop, server->port()), b(loop, server->port());
  ASSERT_TRUE(wait([&] { return server->stats().connections == 2; }));
  RawConnection c(loop, server->port());
  ASSERT_TRUE(wait([&] { return c.eof || c.closed; }));
  a.write(kHello);
  ASSERT_TRUE(wait([&] { return a.input.ends_with("hello\n"); }));
}

TEST_F(LimitsTest, ASlowReaderMakesTheProducerWait) {
  serve(false);
  std::shared_ptr<Responder> responder;
  size_t written = 0, most = 0;
  std::function<void()> pump = [&] {
    while (responder->buffered() <= kHighWater && written < 64 * 1024 * 1024) {
      responder->write(std::string(16 * 1024, 'x'));
      written += 16 * 1024;
      most = std::max(most, responder->buffered());
    }
    if (written < 64 * 1024 * 1024) return responder->on_drained(pump);
    responder->end();
  };
  routes["/much"] = [&](Request, std::shared_ptr<Responder> r) {
    responder = r;
    responder->start(200, {});
    pump();
  };
  RawConnection raw(loop, server->port());
  raw.pause();
  raw.write("GET /much HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(wait([&] { return responder != nullptr; }));
  size_t before = 0;
  wait([&] {
    bool still = written == before;
    before = written;
    return still;
  });
  EXPECT_LT(written, 32u * 1024 * 1024) << "only what the kernel's buffers take";
  raw.resume();
  ASSERT_TRUE(wait([&] {
    raw.input.erase(0, raw.input.size() > 5 ? raw.input.size() - 5 : 0);
    return raw.input == "0\r\n\r\n";
  }));
  EXPECT_EQ(written, 64u * 1024 * 1024);
  EXPECT_LE(most, kHighWater + 17 * 1024);
}

TEST_F(LimitsTest, AReaderThatTakesNothingIsClosed) {
  options.write_timeout = milliseconds(150);
  serve(false);
  bool gone = false;
  routes["/much"] = [&](Request, std::shared_ptr<Responder> responder) {
    responder->start(200, {});
    responder->write(std::string(32 * 1024 * 1024, 'x'));
    responder->on_close([&gone, responder] { gone = true; });
  };
  RawConnection raw(loop, server->port());
  raw.pause();
  raw.write("GET /much HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(wait([&] { return gone; }));
  EXPECT_TRUE(wait([&] { return server->stats().connections == 0; }));
}

// The server sees only that the kernel takes more, which it does when a third of its 4 MB is free.
TEST_F(LimitsTest, AReaderThatTakesLittleIsNot) {
  options.write_timeout = milliseconds(2000);
  serve(false);
  constexpr size_t kSize = 24 * 1024 * 1024;
  routes["/much"] = [&](Request, std::shared_ptr<Responder> responder) {
    responder->send(200, {}, std::string(kSize, 'x'));
  };
  RawConnection raw(loop, server->port());
  raw.write("GET /much HTTP/1.1\r\nHost: x\r\n\r\n");
  size_t received = 0;
  Timer sip = loop.every(milliseconds(10), [&] { raw.resume(); });
  EXPECT_TRUE(wait([&] {
    if (!raw.input.empty()) raw.pause();
    received += std::exchange(raw.input, {}).size();
    return received > kSize || raw.eof || raw.closed;
  }));
  EXPECT_GT(received, kSize);
}

TEST_F(LimitsTest, SlowHttp2ReaderMakesTheProducerWait) {
  serve(true);
  size_t most = 0, written = 0;
  std::shared_ptr<Responder> responder;
  std::function<void()> pump = [&] {
    while (responder->buffered() <= kHighWater && written < 4 * 1024 * 1024) {
      responder->write(std::string(16 * 1024, 'x'));
      written += 16 * 1024;
      most = std::max(most, responder->buffered());
    }
    if (written < 4 * 1024 * 1024) return responder->on_drained(pump);
    responder->end();
  };
  routes["/much"] = [&](Request, std::shared_ptr<Responder> r) {
    responder = r;
    responder->start(200, {});
    pump();
  };
  auto got = curl({"--http2", "--limit-rate", "8M", "/much"});
  EXPECT_EQ(got.status, 0) << got.err;
  EXPECT_EQ(got.out.size(), 4u * 1024 * 1024);
  EXPECT_LE(most, kHighWater + 17 * 1024);
}

/// An HTTP/2 client that does what curl would not.
class Http2Raw {
 public:
  Http2Raw(UvLoop& loop, uint16_t port) : raw(loop, port) {
    nghttp2_session_callbacks* callbacks = nullptr;
    nghttp2_session_callbacks_new(&callbacks);
    nghttp2_session_callbacks_set_on_frame_recv_callback(
        callbacks, [](nghttp2_session*, const nghttp2_frame* frame, void* self) {
          if (frame->hd.type == NGHTTP2_GOAWAY)
            static_cast<Http2Raw*>(self)->goaway.push_back(frame->goaway.error_code);
          return 0;
        });
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(
        callbacks, [](nghttp2_session*, uint8_t, int32_t, const uint8_t* data, size_t length, void* self) {
          static_cast<Http2Raw*>(self)->data.append(reinterpret_cast<const char*>(data), length);
          return 0;
        });
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks,
                                                           [](nghttp2_session*, int32_t, uint32_t code, void* self) {
                                                             static_cast<Http2Raw*>(self)->closed.push_back(code);
                                                             return 0;
                                                           });
    nghttp2_session_client_new(&session, callbacks, this);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(session, 0, nullptr, 0);
  }
  ~Http2Raw() { nghttp2_session_del(session); }

  int32_t get(const std::string& path) {
    auto nv = [](std::string_view name, std::string_view value) {
      return nghttp2_nv{(uint8_t*)name.data(), (uint8_t*)value.data(), name.size(), value.size(), 0};
    };
    nghttp2_nv headers[] = {nv(":method", "GET"), nv(":scheme", "http"), nv(":authority", "x"), nv(":path", path)};
    return nghttp2_submit_request(session, nullptr, headers, 4, nullptr, nullptr);
  }

  void step() {
    const uint8_t* bytes = nullptr;
    for (ssize_t n; (n = nghttp2_session_mem_send(session, &bytes)) > 0;) {
      raw.write({reinterpret_cast<const char*>(bytes), static_cast<size_t>(n)});
    }
    auto input = std::exchange(raw.input, {});
    nghttp2_session_mem_recv(session, reinterpret_cast<const uint8_t*>(input.data()), input.size());
  }

  RawConnection raw;
  nghttp2_session* session = nullptr;
  std::vector<uint32_t> goaway, closed;
  std::string data;
};

TEST_F(LimitsTest, RapidResetsEndTheConnection) {
  serve(false);
  std::vector<std::shared_ptr<Responder>> kept;
  routes["/wait"] = [&](Request, std::shared_ptr<Responder> responder) { kept.push_back(responder); };
  Http2Raw client(loop, server->port());
  int sent = 0;
  ASSERT_TRUE(wait([&] {
    for (int i = 0; i < 50 && sent < 5000 && client.goaway.empty(); ++i, ++sent) {
      int32_t id = client.get("/wait");
      client.step();  // nghttp2 would not even send a request that is cancelled before
      nghttp2_submit_rst_stream(client.session, 0, id, NGHTTP2_CANCEL);
    }
    client.step();
    return !client.goaway.empty();
  }));
  EXPECT_LT(sent, 5000);
  EXPECT_TRUE(wait([&] { return client.raw.eof || client.raw.closed; }));
  for (auto& responder : kept) EXPECT_TRUE(responder->closed());
}

TEST_F(LimitsTest, AnIdleHttp2ConnectionIsToldAndClosed) {
  options.idle_timeout = milliseconds(100);
  serve(false);
  Http2Raw client(loop, server->port());
  client.get("/hello");
  ASSERT_TRUE(wait([&] {
    client.step();
    return client.raw.eof || client.raw.closed;
  }));
  EXPECT_EQ(client.data, "hello\n");
  EXPECT_EQ(client.goaway, std::vector<uint32_t>{NGHTTP2_NO_ERROR});
}

TEST_F(LimitsTest, ManyHttp2StreamsAtOnce) {
  options.max_streams = 10;
  serve(false);
  std::vector<std::shared_ptr<Responder>> kept;
  routes["/wait"] = [&](Request, std::shared_ptr<Responder> responder) { kept.push_back(responder); };
  Http2Raw client(loop, server->port());
  for (int i = 0; i < 30; ++i) client.get("/wait");
  // nghttp2's client keeps to the limit once it knows it; whatever comes before is refused.
  ASSERT_TRUE(wait([&] {
    client.step();
    for (auto& responder : std::exchange(kept, {})) responder->send(200, {}, "x");
    return client.closed.size() == 30;
  }));
  EXPECT_EQ(client.data.size() +
                static_cast<size_t>(std::count(client.closed.begin(), client.closed.end(), NGHTTP2_REFUSED_STREAM)),
            30u);
}

TEST_F(LimitsTest, DrainFinishesWhatRuns) {
  serve(false);
  std::shared_ptr<Responder> unary, watch;
  bool watch_closed = false, done = false;
  routes["/wait"] = [&](Request, std::shared_ptr<Responder> responder) { unary = responder; };
  routes["/watch"] = [&](Request, std::shared_ptr<Responder> responder) {
    watch = responder;
    watch->start(200, {}, Length::kEndless);
    watch->write("event");
    watch->on_close([&] { watch_closed = true; });
  };
  RawConnection idle(loop, server->port()), busy(loop, server->port()), watching(loop, server->port());
  Http2Raw h2(loop, server->port());
  idle.write(kHello);
  busy.write("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
  watching.write("GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
  h2.get("/hello");
  ASSERT_TRUE(wait([&] {
    h2.step();
    return unary && watch && h2.data == "hello\n" && idle.input.ends_with("hello\n");
  }));
  uint16_t port = server->port();
  server->drain([&] { done = true; });
  ASSERT_TRUE(wait([&] {
    h2.step();
    return idle.eof && watching.eof && h2.raw.eof;
  }));
  h2.step();
  EXPECT_TRUE(watch_closed);
  EXPECT_TRUE(watching.input.ends_with("event\r\n0\r\n\r\n")) << "ended cleanly";
  EXPECT_FALSE(h2.goaway.empty());
  EXPECT_FALSE(busy.eof);
  EXPECT_FALSE(done);
  unary->send(200, {}, "finished");
  ASSERT_TRUE(wait([&] { return busy.eof; }));
  EXPECT_TRUE(busy.input.ends_with("finished"));
  EXPECT_NE(busy.input.find("Connection: close"), std::string::npos);
  for (auto* raw : {&idle, &busy, &watching, &h2.raw}) raw->close();
  EXPECT_TRUE(wait([&] { return done; }));
  RawConnection late(loop, port);
  EXPECT_TRUE(wait([&] { return late.closed; })) << "nobody listens";
}

TEST_F(LimitsTest, DrainHasADeadlineAndMayDestroyTheServer) {
  options.drain_timeout = milliseconds(100);
  serve(false);
  std::shared_ptr<Responder> stuck;
  bool gone = false;
  routes["/wait"] = [&](Request, std::shared_ptr<Responder> responder) {
    stuck = responder;
    stuck->on_close([&] { gone = true; });
  };
  RawConnection raw(loop, server->port());
  raw.write("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(wait([&] { return stuck != nullptr; }));
  server->drain([&] { server.reset(); });
  EXPECT_TRUE(wait([&] { return server == nullptr; }));
  EXPECT_TRUE(gone);
}

TEST_F(LimitsTest, ADrainedWatchMayDestroyTheServer) {
  serve(false);
  int watches = 0;
  routes["/watch"] = [&](Request, std::shared_ptr<Responder> responder) {
    ++watches;
    responder->start(200, {}, Length::kEndless);
    responder->on_close([this, responder] { server.reset(); });
  };
  RawConnection a(loop, server->port()), b(loop, server->port());
  a.write("GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
  b.write("GET /watch HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(wait([&] { return watches == 2; }));
  server->drain([] { FAIL() << "the server is gone by then"; });
  EXPECT_TRUE(wait([&] { return server == nullptr && (a.eof || a.closed) && (b.eof || b.closed); }));
}

TEST_F(LimitsTest, AnIdleServerDrainsAtOnce) {
  serve(false);
  bool done = false;
  server->drain([&] { done = true; });
  EXPECT_FALSE(done) << "never from inside the call";
  EXPECT_TRUE(wait([&] { return done; }));
}

TEST_F(LimitsTest, RespondersOutliveTheServer) {
  serve(false);
  std::shared_ptr<Responder> first, second;
  routes["/first"] = [&](Request, std::shared_ptr<Responder> responder) { first = responder; };
  routes["/second"] = [&](Request, std::shared_ptr<Responder> responder) {
    second = responder;
    responder->start(200, {});
    responder->on_close([] { FAIL() << "no callbacks once the server is gone"; });
    server.reset();  // from inside its own handler
  };
  RawConnection a(loop, server->port()), b(loop, server->port());
  a.write("GET /first HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(wait([&] { return first != nullptr; }));
  b.write("GET /second HTTP/1.1\r\nHost: x\r\n\r\n");
  ASSERT_TRUE(wait([&] { return second != nullptr && (a.eof || a.closed) && (b.eof || b.closed); }));
  first->send(200, {}, "x");
  second->write("x");
  second->end();
  EXPECT_TRUE(first->closed());
  EXPECT_TRUE(second->closed());
}

}  // namespace
}  // namespace gantry::http
