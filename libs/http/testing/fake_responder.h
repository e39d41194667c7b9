// A Responder that records, for handlers' unit tests.
#pragma once

#include "libs/http/responder.h"
#include "libs/http/testing/fake_stream.h"

namespace gantry::http::testing {

/// Set `pending` to simulate a slow client; drain() and disconnect() do what the loop would. With `loop` set upgrades
/// succeed: the client's end of the connection is `peer`.
class FakeResponder final : public Responder {
 public:
  void send(int status, Headers headers, std::string body) override;
  void start(int status, Headers headers, Length length) override;
  void write(std::string_view bytes) override;
  void end() override { ended = true; }
  void abort() override { aborted = ended = true; }
  size_t buffered() const override { return pending; }
  void on_drained(std::function<void()> callback) override { drained = std::move(callback); }
  void on_close(std::function<void()> callback) override { close = std::move(callback); }
  bool closed() const override { return gone || ended; }
  std::shared_ptr<WebSocket> upgrade_websocket(std::string_view subprotocol) override;
  std::shared_ptr<Stream> hijack(Headers headers) override;

  /// The client takes everything that is pending.
  void drain();
  /// The client goes away.
  void disconnect();

  Loop* loop = nullptr;
  std::shared_ptr<FakeStream> peer;
  std::string protocol;  // of the WebSocket

  int status = 0;  // 0: not answered yet
  Headers headers;
  std::string body;
  Length length = Length::kFinite;
  bool streamed = false, ended = false, aborted = false, gone = false;
  size_t pending = 0;
  std::function<void()> drained, close;
};

}  // namespace gantry::http::testing
