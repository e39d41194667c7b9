// Whatever a client sends after an upgrade to SPDY or WebSocket: frames in any cut. The first byte chooses the
// protocol and how the rest is cut.
#include <cstdint>
#include <string_view>

#include "libs/http/spdy.h"
#include "libs/http/websocket.h"

namespace {

using namespace gantry::http;

/// A connection that gives what it is fed and takes everything.
class FuzzStream final : public Stream {
 public:
  void write(std::string_view) override {}
  size_t buffered() const override { return 0; }
  void on_drained(std::function<void()>) override {}
  void on_data(std::function<void(std::string_view)> callback) override { data = std::move(callback); }
  void on_close(std::function<void()>) override {}
  void pause() override {}
  void resume() override {}
  void close() override { over = true; }
  bool closed() const override { return over; }
  std::function<void(std::string_view)> data;
  bool over = false;
};

class Echo final : public SpdyHandler {
 public:
  void on_stream(uint32_t stream, const Headers& headers, bool) override {
    headers.has("streamtype") ? session->reply(stream) : session->reset(stream, SpdySession::kRefused);
  }
  void on_data(uint32_t stream, std::string_view data, bool fin) override {
    session->write(stream, data);
    session->consume(stream, data.size());
    if (fin) session->finish(stream);
  }
  void on_reset(uint32_t, uint32_t) override {}
  void on_closed(const std::string&) override {}
  std::shared_ptr<SpdySession> session;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  auto stream = std::make_shared<FuzzStream>();
  size_t cut = data[0] / 4 % 32 == 0 ? bytes.size() + 1 : data[0] / 4 % 32;
  auto feed = [&] {
    while (!bytes.empty() && stream->data && !stream->over) {
      auto callback = stream->data;
      callback(bytes.substr(0, cut));
      bytes.remove_prefix(std::min(cut, bytes.size()));
    }
  };
  if (data[0] % 4 == 0) {
    auto socket = make_websocket(stream, 65536);
    socket->on_message([&](std::string_view message, bool binary) {
      binary ? socket->send_binary(message) : socket->send_text(message);
    });
    feed();
    return 0;
  }
  Echo echo;
  echo.session =
      SpdySession::create(stream, data[0] % 4 == 1 ? SpdySession::Role::kClient : SpdySession::Role::kServer, echo);
  if (data[0] % 4 == 1) echo.session->open({{"streamtype", "data"}});
  feed();
  return 0;
}
