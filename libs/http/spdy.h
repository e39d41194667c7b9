// SPDY/3.1 streams over a connection that was upgraded (Responder::hijack(), http::upgrade()) or tunnelled in a
// WebSocket: the protocol of exec, attach and port-forward for older Kubernetes clients, and of CRI's attach.
//
//   auto session = SpdySession::create(stream, SpdySession::Role::kServer, handler);
//
// Flow control: we grant windows as data is consumed. A peer's windows bind us once it has shown that it keeps them
// (by a WINDOW_UPDATE or SETTINGS): the library in Kubernetes' clients never opens one, and leaves it to TCP.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "libs/http/responder.h"
#include "libs/http/spdy_frames.h"

namespace gantry::http {

/// Calls from a session; from the loop, never inside a call on the session. A handler may drop the session in any.
class SpdyHandler {
 public:
  /// The peer opened a stream: reply() or reset() it. With `fin` it says nothing on it.
  virtual void on_stream(uint32_t stream, const Headers& headers, bool fin) = 0;
  /// To a stream of ours.
  virtual void on_reply(uint32_t /*stream*/) {}
  /// Never for streams that were reset. Give back with consume().
  virtual void on_data(uint32_t stream, std::string_view data, bool fin) = 0;
  virtual void on_reset(uint32_t stream, uint32_t status) = 0;
  /// buffered() has fallen to kLowWater; after a write() that found it above kHighWater.
  virtual void on_drained() {}
  /// The peer has gone, or broke the protocol (`error`). The last call.
  virtual void on_closed(const std::string& error) = 0;

 protected:
  ~SpdyHandler() = default;
};

/// Loop's thread only. Dropping it closes the connection at once.
class SpdySession final : public std::enable_shared_from_this<SpdySession>, private spdy::FrameSink {
 public:
  enum class Role : uint8_t { kServer, kClient };
  // Status codes of RST_STREAM.
  static constexpr uint32_t kProtocolError = 1, kInvalidStream = 2, kRefused = 3, kCancel = 5, kInternal = 6,
                            kAlreadyClosed = 9;

  /// `handler` outlives the session or calls detach().
  static std::shared_ptr<SpdySession> create(std::shared_ptr<Stream> connection, Role role, SpdyHandler& handler);
  void detach() { handler_ = nullptr; }

  /// A new stream of ours; its number.
  uint32_t open(Headers headers);
  void reply(uint32_t stream);
  void write(uint32_t stream, std::string_view data);
  /// Half close: nothing more comes from us.
  void finish(uint32_t stream);
  void reset(uint32_t stream, uint32_t status);
  /// `bytes` of on_data() were taken: the peer may send as many again.
  void consume(uint32_t stream, size_t bytes);
  /// Stops and restarts reading the connection: every stream waits.
  void pause();
  void resume();
  /// Output that the peer has not taken, or has not granted a window for.
  size_t buffered() const { return connection_->buffered() + queued_; }
  size_t streams() const { return streams_.size(); }
  /// Sends what is buffered, GOAWAY, and closes. No callback comes after.
  void close();

 private:
  struct State {
    bool local_fin = false, remote_fin = false;
    int64_t window = 0;   // that the peer grants
    size_t consumed = 0;  // to be granted
    std::string pending;  // waits for the window
    bool fin_pending = false;
  };
  SpdySession(std::shared_ptr<Stream> connection, Role role, SpdyHandler& handler);
  void listen();
  void input(std::string_view bytes);
  void on_control(const spdy::Control& frame) override;
  void on_data(uint32_t stream, std::string_view bytes, bool fin) override;
  void on_syn(const spdy::Control& frame);
  void send(const spdy::Control& frame) { connection_->write(writer_.control(frame)); }
  void grant(uint32_t stream, size_t bytes);
  void pump(uint32_t stream, State& state);
  void pump_all();
  void forget_if_done(uint32_t stream);
  void check_drained();
  void await_drain();
  void fail(const std::string& error);
  void finish_all(const std::string& error);

  std::shared_ptr<Stream> connection_;
  SpdyHandler* handler_;
  Role role_;
  spdy::FrameReader reader_;
  spdy::FrameWriter writer_;
  std::map<uint32_t, State> streams_;
  std::map<uint32_t, State>::iterator find(uint32_t stream) { return streams_.find(stream); }
  uint32_t last_peer_ = 0, next_own_;
  int64_t window_ = 65536, initial_window_ = 65536;  // that the peer grants: of the session, of a new stream
  bool flow_ = false;                                // the peer keeps windows
  size_t queued_ = 0, consumed_ = 0;
  bool closed_ = false, owed_ = false;  // owed_: on_drained()
};

/// A Stream of a WebSocket's binary messages, for protocols tunnelled in it.
std::shared_ptr<Stream> make_websocket_stream(std::shared_ptr<WebSocket> socket);

}  // namespace gantry::http
