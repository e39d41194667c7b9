// HTTP/2 on a server's connection: nghttp2 keeps the protocol, this turns its streams into requests and responses,
// pulling as many frames as the socket takes once a tick. Internal to libs/http.
#pragma once

#include <nghttp2/nghttp2.h>

#include <unordered_map>

#include "libs/http/connection.h"

namespace gantry::http {

class Http2Exchange;

/// One stream: the request while it comes in, then the response that waits to go out.
struct Http2Stream {
  int32_t id = 0;
  uint64_t since = 0;  // of the phase: headers, body
  // Request.
  std::string method, target, authority;
  Headers headers;
  size_t header_bytes = 0;
  std::string body;
  size_t counted = 0;    // of ServerCore::receiving
  size_t discarded = 0;  // bytes of a rejected body
  bool head_complete = false, complete = false, rejected = false;
  bool refused = false;  // there is no room for its headers
  // Response.
  Http2Exchange* exchange = nullptr;  // null once answered, dropped, or rejected
  std::string out;                    // from taken
  size_t taken = 0;
  bool ended = false, deferred = false;
  uint64_t moved = 0;  // when the peer last took some of it
};

class Http2Server final : public Protocol {
 public:
  explicit Http2Server(Connection& connection);
  ~Http2Server() override;

  void on_bytes(std::string_view bytes) override;
  void on_fill() override;
  void on_writable() override;
  void on_eof() override;
  void on_gone() override;
  void check(uint64_t now_ms) override;
  void drain() override;

 private:
  friend class Http2Exchange;
  static nghttp2_session_callbacks* callbacks();
  static nghttp2_option* options();
  static Http2Server& of(void* self) { return *static_cast<Http2Server*>(self); }
  Http2Stream* find(int32_t id);
  Channel& channel() { return connection_.channel(); }

  // What nghttp2 tells.
  void begin_stream(int32_t id);
  void header(Http2Stream& stream, std::string_view name, std::string_view value);
  void head_complete(Http2Stream& stream);
  void data(Http2Stream& stream, std::string_view bytes);
  void request_complete(Http2Stream& stream);
  void stream_closed(int32_t id);
  ssize_t read_output(Http2Stream& stream, uint8_t* out, size_t length, uint32_t* flags);

  // What the exchange asks for.
  void respond(Http2Stream& stream, int status, const Headers& headers, std::optional<size_t> length, bool body);
  void wrote(Http2Stream& stream);
  void reset(Http2Stream& stream, uint32_t code);
  void released(Http2Stream& stream);

  void reject(Http2Stream& stream, int status, std::string_view message);
  void forget_body(Http2Stream& stream);
  void close_if_done();
  /// Output has come to wait on a stream, or goes.
  void hold(size_t bytes);
  void release(size_t bytes);

  Connection& connection_;
  nghttp2_session* session_ = nullptr;
  std::unordered_map<int32_t, std::unique_ptr<Http2Stream>> streams_;
  std::vector<int32_t> waiting_;  // streams with an on_drained callback
  uint64_t idle_since_;
  size_t held_ = 0;      // of ServerCore::held
  int drain_stage_ = 0;  // 1: told to open no more, 2: final GOAWAY
};

}  // namespace gantry::http
