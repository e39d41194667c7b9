// The answering side of a request: what a handler holds, now or later, to reply. Interfaces, so that a handler is
// tested with testing/fake_responder.h and no socket.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "libs/http/message.h"

namespace gantry::http {

/// buffered() above which a producer should stop until on_drained().
inline constexpr size_t kHighWater = 256 * 1024;
/// on_drained() runs when buffered() is at or below this.
inline constexpr size_t kLowWater = 64 * 1024;

/// Bytes both ways after an HTTP/1.1 Upgrade. Every method is for the loop's thread and safe after the peer has gone
/// (no effect). Callbacks come from the loop, never from inside a call on the stream. Dropping the last reference
/// closes at once.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual void write(std::string_view bytes) = 0;
  /// Bytes not yet taken by the socket.
  virtual size_t buffered() const = 0;
  /// Runs `callback` once, when buffered() <= kLowWater. Replaces an earlier one.
  virtual void on_drained(std::function<void()> callback) = 0;
  /// Reading starts with this; what came before it is kept (bounded: the peer waits).
  virtual void on_data(std::function<void(std::string_view)> callback) = 0;
  /// Once, when the peer has gone or closed its side; not after close().
  virtual void on_close(std::function<void()> callback) = 0;
  /// Stops and restarts reading, so that a slow consumer slows the peer.
  virtual void pause() = 0;
  virtual void resume() = 0;
  /// Sends what is buffered, then closes.
  virtual void close() = 0;
  virtual bool closed() const = 0;
};

/// A WebSocket (RFC 6455), server side. Pings are answered, fragments joined, text checked for UTF-8. Threads and
/// lifetime as Stream.
class WebSocket {
 public:
  virtual ~WebSocket() = default;
  virtual void send_binary(std::string_view message) = 0;
  virtual void send_text(std::string_view message) = 0;
  virtual void ping() = 0;
  /// Sends a close frame after what is buffered, then closes. `reason` is cut at 123 bytes.
  virtual void close(uint16_t code = 1000, std::string_view reason = {}) = 0;
  virtual size_t buffered() const = 0;
  virtual void on_drained(std::function<void()> callback) = 0;
  /// Each whole message. Reading starts with this.
  virtual void on_message(std::function<void(std::string_view message, bool binary)> callback) = 0;
  /// Once, with the peer's code and reason, 1006 when the connection broke; not after close().
  virtual void on_close(std::function<void(uint16_t code, std::string_view reason)> callback) = 0;
  virtual void pause() = 0;
  virtual void resume() = 0;
  virtual bool closed() const = 0;
};

/// Whether a streamed response has an end of its own.
enum class Length : uint8_t {
  kFinite,   // a drain waits for end()
  kEndless,  // a watch, a followed log: a drain ends it cleanly and calls on_close
};

/// Answers one request: either send(), or start(), write()..., end(), or one of the upgrades. Usable at any later time
/// on the loop's thread, and without effect once answered or once the client has gone. The last reference dropped
/// without an answer sends 500; dropped in the middle of a stream it breaks the stream off, so that the client does not
/// take half for the whole.
class Responder {
 public:
  virtual ~Responder() = default;

  /// The whole response. Content-Length and Date are added; HEAD, 204 and 304 send no body.
  virtual void send(int status, Headers headers, std::string body) = 0;

  /// The head of a streamed response (chunked, or until close for HTTP/1.0; DATA frames on HTTP/2). It leaves in this
  /// tick.
  virtual void start(int status, Headers headers, Length length = Length::kFinite) = 0;
  virtual void write(std::string_view bytes) = 0;
  /// The response is complete.
  virtual void end() = 0;
  /// Breaks the response off: the client sees an error.
  virtual void abort() = 0;

  /// Bytes written but not yet taken by the socket. Past kHighWater wait for on_drained().
  virtual size_t buffered() const = 0;
  /// Runs `callback` once, from the loop, when buffered() <= kLowWater. Replaces an earlier one.
  virtual void on_drained(std::function<void()> callback) = 0;
  /// Runs `callback` once, from the loop, when the client goes away, or a drain ends the stream, before end().
  virtual void on_close(std::function<void()> callback) = 0;
  /// True once the client has gone or the answer is complete: nothing more can be said.
  virtual bool closed() const = 0;

  /// 101 and a WebSocket, for Request.upgrade "websocket"; `subprotocol` is echoed unless empty. Null when the request
  /// is no valid WebSocket handshake: it has been answered with 400 or 426 then.
  virtual std::shared_ptr<WebSocket> upgrade_websocket(std::string_view subprotocol) = 0;
  /// 101 with `headers` (Upgrade and Connection are added) and the raw connection. Null unless Request.is_upgrade:
  /// answered with 400.
  virtual std::shared_ptr<Stream> hijack(Headers headers) = 0;
};

}  // namespace gantry::http
