// A request on HTTP/1.1 and its answer, and what it becomes after an upgrade. Internal to libs/http.
#pragma once

#include "libs/http/http1_server.h"

namespace gantry::http {

class Http1Exchange final : public Responder {
 public:
  struct Asked {
    bool head = false;      // HEAD: no body in the answer
    int minor_version = 1;  // HTTP/1.<minor>
    bool upgrade = false;
    std::string upgrade_protocol, websocket_key, websocket_version;
    std::string what;  // "GET /path", for logs
  };
  Http1Exchange(Http1Server& owner, Asked asked);
  ~Http1Exchange() override;

  void send(int status, Headers headers, std::string body) override;
  void start(int status, Headers headers, Length length) override;
  void write(std::string_view bytes) override;
  void end() override;
  void abort() override;
  size_t buffered() const override;
  void on_drained(std::function<void()> callback) override;
  void on_close(std::function<void()> callback) override;
  bool closed() const override { return owner_ == nullptr; }
  std::shared_ptr<WebSocket> upgrade_websocket(std::string_view subprotocol) override;
  std::shared_ptr<Stream> hijack(Headers headers) override;

  // From the owner.
  void writable();
  void gone();
  void detach();
  void drain();

 private:
  void finish(bool complete);

  Http1Server* owner_;  // null once answered, or gone
  Asked asked_;
  std::function<void()> drained_, close_;
  Http1Server::Framing framing_ = Http1Server::Framing::kChunked;
  Length length_ = Length::kFinite;
  bool started_ = false;
};

class Http1Stream final : public Stream {
 public:
  explicit Http1Stream(Http1Server& owner) : owner_(&owner) {}
  ~Http1Stream() override;

  void write(std::string_view bytes) override;
  size_t buffered() const override;
  void on_drained(std::function<void()> callback) override;
  void on_data(std::function<void(std::string_view)> callback) override;
  void on_close(std::function<void()> callback) override;
  void pause() override;
  void resume() override;
  void close() override;
  bool closed() const override { return owner_ == nullptr; }

  // From the owner.
  void input(std::string_view bytes);
  void pump();
  void writable();
  void gone();
  void detach();

 private:
  Http1Server* owner_;
  std::string pending_;  // came before someone listened, or while paused
  std::function<void(std::string_view)> data_;
  std::function<void()> drained_, close_;
  bool paused_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);  // a callback may drop the last reference
};

}  // namespace gantry::http
