// WebSocket and raw upgrades, against a client made by hand: framing errors must be ours to send.
#include "libs/http/websocket.h"

#include "libs/http/testing/test_server.h"

namespace gantry::http {
namespace {

using testing::RawConnection;
using testing::ServerTest;

constexpr std::string_view kHandshake =
    "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v5.channel.k8s.io, "
    "v4.channel.k8s.io\r\n\r\n";

enum Opcode : uint8_t { kContinue = 0, kText = 1, kBinary = 2, kClose = 8, kPing = 9, kPong = 10 };

/// A client's frame: masked.
std::string frame(uint8_t opcode, std::string_view payload, bool fin = true) {
  std::string out;
  out += static_cast<char>((fin ? 0x80 : 0) | opcode);
  if (payload.size() < 126) {
    out += static_cast<char>(0x80 | payload.size());
  } else if (payload.size() < 65536) {
    out += static_cast<char>(0x80 | 126);
    out += static_cast<char>(payload.size() >> 8);
    out += static_cast<char>(payload.size() & 255);
  } else {
    out += static_cast<char>(0x80 | 127);
    for (int shift = 56; shift >= 0; shift -= 8)
      out += static_cast<char>(static_cast<uint64_t>(payload.size()) >> shift);
  }
  const char mask[] = {1, 2, 3, 4};
  out.append(mask, 4);
  for (size_t i = 0; i < payload.size(); ++i) out += static_cast<char>(payload[i] ^ mask[i % 4]);
  return out;
}

/// The next frame of a server; nothing until it is complete.
std::optional<std::pair<uint8_t, std::string>> take_frame(std::string& input) {
  if (input.size() < 2) return std::nullopt;
  auto byte = [&](size_t i) { return static_cast<uint64_t>(static_cast<uint8_t>(input[i])); };
  size_t length = byte(1), at = 2;
  if (length >= 126) {
    size_t bytes = length == 126 ? 2 : 8;
    if (input.size() < 2 + bytes) return std::nullopt;
    length = 0;
    for (size_t i = 0; i < bytes; ++i) length = length << 8 | byte(2 + i);
    at += bytes;
  }
  if (input.size() < at + length) return std::nullopt;
  std::pair<uint8_t, std::string> out{static_cast<uint8_t>(byte(0) & 15), input.substr(at, length)};
  input.erase(0, at + length);
  return out;
}

class WebSocketTest : public ServerTest {
 protected:
  /// Serves /ws with an echo and shakes hands on `raw`.
  void connect(RawConnection& raw, std::string_view early = {}) {
    raw.write(std::string(kHandshake) + std::string(early));
    size_t end = 0;
    ASSERT_TRUE(wait([&] { return (end = raw.input.find("\r\n\r\n")) != std::string::npos; }));
    head = raw.input.substr(0, end + 4);
    raw.input.erase(0, end + 4);
  }

  void SetUp() override {
    routes["/ws"] = [this](Request request, std::shared_ptr<Responder> responder) {
      EXPECT_EQ(request.upgrade, "websocket");
      EXPECT_EQ(request.websocket_protocols(),
                (std::vector<std::string_view>{"v5.channel.k8s.io", "v4.channel.k8s.io"}));
      socket = responder->upgrade_websocket("v5.channel.k8s.io");
      if (!socket) return;
      socket->on_message([this](std::string_view message, bool binary) {
        if (message == "close") return socket->close(4000, "asked to");
        if (message == "drop") return socket.reset();
        binary ? socket->send_binary(message) : socket->send_text(message);
      });
      socket->on_close([this](uint16_t c, std::string_view r) {
        code = c;
        reason = r;
      });
    };
  }

  std::pair<uint8_t, std::string> next(RawConnection& raw) {
    std::optional<std::pair<uint8_t, std::string>> got;
    wait([&] { return (got = take_frame(raw.input)).has_value() || raw.eof || raw.closed; });
    return got.value_or(std::pair<uint8_t, std::string>{255, "nothing came"});
  }

  std::shared_ptr<WebSocket> socket;
  uint16_t code = 0;
  std::string reason, head;
};

using Frame = std::pair<uint8_t, std::string>;

TEST_F(WebSocketTest, EchoesEverySize) {
  serve(false);
  RawConnection raw(loop, server->port());
  connect(raw, frame(kText, "sent with the handshake"));
  EXPECT_TRUE(head.starts_with("HTTP/1.1 101 Switching Protocols\r\n")) << head;
  EXPECT_NE(head.find("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"), std::string::npos) << head;
  EXPECT_NE(head.find("Sec-WebSocket-Protocol: v5.channel.k8s.io\r\n"), std::string::npos);
  EXPECT_EQ(next(raw), (Frame{kText, "sent with the handshake"}));
  for (size_t size : {0, 1, 125, 126, 65535, 65536, 1'000'000}) {
    std::string message(size, 'm');
    raw.write(frame(kBinary, message));
    EXPECT_TRUE(next(raw) == (Frame{kBinary, message})) << size;
  }
  raw.write(frame(kText, "in ", false) + frame(kPing, "between") + frame(kContinue, "pieces"));
  EXPECT_EQ(next(raw), (Frame{kPong, "between"}));
  EXPECT_EQ(next(raw), (Frame{kText, "in pieces"}));
  raw.write(frame(kClose, std::string("\x03\xe8") + "bye"));
  EXPECT_EQ(next(raw).first, kClose);
  EXPECT_TRUE(wait([&] { return code != 0 && raw.eof; }));
  EXPECT_EQ(code, 1000);
  EXPECT_EQ(reason, "bye");
  EXPECT_TRUE(socket->closed());
  socket->send_text("into the void");
}

TEST_F(WebSocketTest, TheServerCloses) {
  serve(false);
  RawConnection raw(loop, server->port());
  connect(raw);
  raw.write(frame(kText, "before") + frame(kText, "close") + frame(kText, "after"));
  EXPECT_EQ(next(raw), (Frame{kText, "before"}));
  EXPECT_EQ(next(raw), (Frame{kClose, std::string("\x0f\xa0") + "asked to"}));
  EXPECT_TRUE(wait([&] { return raw.eof; }));
  EXPECT_EQ(raw.input, "");
  EXPECT_EQ(code, 0) << "no on_close after close()";
  raw.close();
  EXPECT_TRUE(wait([&] { return server->stats().connections == 0; }));
  EXPECT_EQ(server->stats().active, 0u);
}

TEST_F(WebSocketTest, DroppingItInItsOwnCallbackCloses) {
  serve(false);
  RawConnection raw(loop, server->port());
  connect(raw);
  raw.write(frame(kText, "drop") + frame(kText, "after"));
  EXPECT_TRUE(wait([&] { return raw.eof || raw.closed; }));
}

TEST_F(WebSocketTest, ABrokenConnectionIs1006AndBadFramesAreRefused) {
  options.max_websocket_message = 1000;
  serve(false);
  {
    RawConnection raw(loop, server->port());
    connect(raw);
    raw.close();
    EXPECT_TRUE(wait([&] { return code != 0; }));
    EXPECT_EQ(code, 1006);
  }
  struct Case {
    std::string bytes;
    uint16_t expected;
  };
  for (const auto& [bytes, expected] : {Case{std::string("\x81\x02hi", 4), 1002},  // not masked
                                        Case{frame(kText, "\xff\xfe"), 1007},      // not UTF-8
                                        Case{frame(kBinary, std::string(1001, 'x')), 1009}}) {
    code = 0;
    RawConnection raw(loop, server->port());
    connect(raw);
    raw.write(bytes);
    auto [opcode, payload] = next(raw);
    ASSERT_EQ(opcode, kClose) << expected;
    EXPECT_EQ(static_cast<uint8_t>(payload[0]) << 8 | static_cast<uint8_t>(payload[1]), expected);
    EXPECT_TRUE(wait([&] { return code != 0; }));
    EXPECT_EQ(code, expected);
  }
}

TEST_F(WebSocketTest, APausedConsumerSlowsThePeer) {
  serve(false);
  size_t received = 0;
  routes["/ws"] = [&](Request, std::shared_ptr<Responder> responder) {
    socket = responder->upgrade_websocket("");
    socket->on_message([&](std::string_view message, bool) { received += message.size(); });
    socket->pause();
  };
  RawConnection raw(loop, server->port());
  connect(raw);
  std::string message(32 * 1024, 'x');
  for (int i = 0; i < 1000; ++i) raw.write(frame(kBinary, message));
  bool later = false;
  Timer timer = loop.after(std::chrono::milliseconds(50), [&] { later = true; });
  wait([&] { return later; });
  EXPECT_EQ(received, 0u);
  socket->resume();
  EXPECT_TRUE(wait([&] { return received == 1000 * message.size(); })) << received;
}

TEST_F(WebSocketTest, PingsWithoutReadingAreBounded) {
  serve(false);
  RawConnection raw(loop, server->port());
  connect(raw);
  raw.pause();
  std::string pings;
  for (int i = 0; i < 8; ++i) pings += frame(kPing, std::string(120, 'p'));
  size_t most = 0;
  for (int i = 0; i < 20'000; ++i) raw.write(pings);
  bool later = false;
  Timer timer = loop.after(std::chrono::milliseconds(300), [&] { later = true; });
  wait([&] {
    most = std::max(most, socket->buffered());
    return later;
  });
  EXPECT_LT(most, 4 * kHighWater);
}

TEST_F(WebSocketTest, BadHandshakesAreAnswered) {
  serve(false);
  auto answer = [&](std::string text) {
    RawConnection raw(loop, server->port());
    raw.write(text);
    wait([&] { return raw.input.find("\r\n\r\n") != std::string::npos; });
    return raw.input.substr(0, 12);
  };
  std::string good(kHandshake);
  auto without = [&](std::string line) {
    std::string text = good;
    size_t at = text.find(line);
    return text.erase(at, text.find("\r\n", at) + 2 - at);
  };
  auto v8 = good;
  v8.replace(v8.find("Version: 13"), 11, "Version: 8");
  EXPECT_EQ(answer(without("Sec-WebSocket-Key")), "HTTP/1.1 400");
  EXPECT_EQ(answer(v8), "HTTP/1.1 426");
  routes["/ws"] = [](Request, std::shared_ptr<Responder> responder) {
    EXPECT_EQ(responder->upgrade_websocket("x"), nullptr);
  };
  EXPECT_EQ(answer("GET /ws HTTP/1.1\r\nHost: x\r\n\r\n"), "HTTP/1.1 400");
}

TEST_F(WebSocketTest, WorksOverTlsAndNotOverHttp2) {
  serve(true);
  // The same handshake from another implementation of TLS.
  auto script = dir.write("ws.py", R"(
import socket, ssl, sys
context = ssl.create_default_context(cafile=sys.argv[2])
context.set_alpn_protocols(['http/1.1'])
s = context.wrap_socket(socket.create_connection(('127.0.0.1', int(sys.argv[1]))), server_hostname='127.0.0.1')
s.sendall(sys.stdin.buffer.read() + bytes([0x82, 0x83, 0, 0, 0, 0, 1, 2, 3]))
data = b''
while b'\r\n\r\n' not in data or len(data.split(b'\r\n\r\n', 1)[1]) < 5:
    data += s.recv(4096)
print(data.split(b'\r\n\r\n', 1)[1].hex())
)");
  auto got = testing::run_process(loop, {"python3", script, std::to_string(server->port()), ca.ca_file()},
                                  std::string(kHandshake));
  EXPECT_EQ(got.out, "8203010203\n") << got.err;
  EXPECT_TRUE(wait([&] { return code == 1006; }));

  routes["/ws"] = [](Request, std::shared_ptr<Responder> responder) {
    EXPECT_EQ(responder->upgrade_websocket("x"), nullptr);
  };
  EXPECT_EQ(curl({"--http2", "-o", "/dev/null", "-w", "%{http_code}", "/ws"}).out, "400");
}

TEST_F(ServerTest, HijackGivesTheRawConnection) {
  serve(false);
  std::shared_ptr<Stream> stream;
  bool closed = false;
  routes["/exec"] = [&](Request request, std::shared_ptr<Responder> responder) {
    EXPECT_EQ(request.upgrade, "SPDY/3.1");
    EXPECT_EQ(request.method, "POST");
    // Later, as after an authorization: what the client already sent must not be lost.
    loop.post([&, responder] {
      stream = responder->hijack({{"X-Stream-Protocol-Version", "v4.channel.k8s.io"}});
      ASSERT_NE(stream, nullptr);
      stream->on_data([&](std::string_view bytes) { stream->write(fmt::format("<{}>", bytes)); });
      stream->on_close([&] { closed = true; });
    });
  };
  RawConnection raw(loop, server->port());
  raw.write("POST /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\nearly");
  ASSERT_TRUE(wait([&] { return raw.input.ends_with("<early>"); })) << raw.input;
  EXPECT_TRUE(raw.input.starts_with("HTTP/1.1 101 ")) << raw.input;
  EXPECT_NE(raw.input.find("Upgrade: SPDY/3.1\r\n"), std::string::npos);
  EXPECT_NE(raw.input.find("X-Stream-Protocol-Version: v4.channel.k8s.io\r\n"), std::string::npos);
  raw.write("late");
  ASSERT_TRUE(wait([&] { return raw.input.ends_with("<late>"); }));
  stream->write("last");
  stream->close();
  ASSERT_TRUE(wait([&] { return raw.eof; }));
  EXPECT_TRUE(raw.input.ends_with("last"));
  EXPECT_FALSE(closed);

  RawConnection second(loop, server->port());
  second.write("POST /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n");
  ASSERT_TRUE(wait([&] { return second.input.starts_with("HTTP/1.1 101 "); }));
  second.close();
  EXPECT_TRUE(wait([&] { return closed; }));
}

TEST_F(ServerTest, WritingToAPeerThatHasGoneIsNoSignal) {
  serve(false);
  std::shared_ptr<Stream> stream;
  bool closed = false;
  routes["/exec"] = [&](Request, std::shared_ptr<Responder> responder) {
    stream = responder->hijack({});
    stream->on_data([](std::string_view) {});
    stream->on_close([&] { closed = true; });
    stream->pause();  // nothing is read: only writing can tell
  };
  RawConnection raw(loop, server->port());
  raw.write("POST /exec HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n");
  ASSERT_TRUE(wait([&] { return !raw.input.empty(); }));
  raw.close();
  ASSERT_TRUE(wait([&] { return raw.closed; }));
  EXPECT_TRUE(wait([&] {
    stream->write("more");
    return closed;
  }));
}

TEST_F(ServerTest, HijackNeedsAnUpgrade) {
  serve(false);
  routes["/exec"] = [&](Request, std::shared_ptr<Responder> responder) { EXPECT_EQ(responder->hijack({}), nullptr); };
  EXPECT_EQ(curl({"-o", "/dev/null", "-w", "%{http_code}", "/exec"}).out, "400");
}

}  // namespace
}  // namespace gantry::http
