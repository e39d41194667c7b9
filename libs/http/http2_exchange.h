// A request on an HTTP/2 stream and its answer. Internal to libs/http.
#pragma once

#include "libs/http/http2_server.h"

namespace gantry::http {

class Http2Exchange final : public Responder {
 public:
  Http2Exchange(Http2Server& owner, Http2Stream& stream, bool head, std::string what)
      : owner_(&owner), stream_(&stream), what_(std::move(what)), head_(head) {}
  ~Http2Exchange() override;

  void send(int status, Headers headers, std::string body) override;
  void start(int status, Headers headers, Length length) override;
  void write(std::string_view bytes) override;
  void end() override;
  void abort() override;
  size_t buffered() const override;
  void on_drained(std::function<void()> callback) override;
  void on_close(std::function<void()> callback) override;
  bool closed() const override { return stream_ == nullptr; }
  /// HTTP/2 has no Upgrade: 400 (kubectl asks for HTTP/1.1 there).
  std::shared_ptr<WebSocket> upgrade_websocket(std::string_view subprotocol) override;
  std::shared_ptr<Stream> hijack(Headers headers) override;

  // From the owner.
  /// Runs the on_drained callback if it is time; true when none waits any more.
  bool writable();
  void gone();
  void detach();
  void drain();

 private:
  void release();

  Http2Server* owner_;
  Http2Stream* stream_;  // null once answered, or gone
  std::string what_;     // "GET /path", for logs
  std::function<void()> drained_, close_;
  Length length_ = Length::kFinite;
  bool head_, started_ = false;
};

}  // namespace gantry::http
