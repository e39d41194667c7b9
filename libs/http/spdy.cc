#include "libs/http/spdy.h"

#include <fmt/format.h>

namespace gantry::http {
namespace {

using spdy::Control;
using spdy::Type;

constexpr size_t kMaxStreams = 1000;
constexpr size_t kGrant = 32 * 1024;
constexpr size_t kPiece = 64 * 1024;
constexpr int64_t kMaxWindow = 0x7fffffff;

}  // namespace

SpdySession::SpdySession(std::shared_ptr<Stream> connection, Role role, SpdyHandler& handler)
    : connection_(std::move(connection)), handler_(&handler), role_(role), next_own_(role == Role::kClient ? 1 : 2) {}

std::shared_ptr<SpdySession> SpdySession::create(std::shared_ptr<Stream> connection, Role role, SpdyHandler& handler) {
  std::shared_ptr<SpdySession> session(new SpdySession(std::move(connection), role, handler));
  session->listen();
  return session;
}

void SpdySession::listen() {
  connection_->on_close([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->finish_all("the connection was closed");
  });
  connection_->on_data([weak = weak_from_this()](std::string_view bytes) {
    if (auto self = weak.lock()) self->input(bytes);
  });
}

void SpdySession::input(std::string_view bytes) {
  // The handler may have let go of us in a callback: only the lock in listen() is left then.
  auto status = reader_.feed(bytes, *this, [this] { return closed_ || weak_from_this().use_count() == 1; });
  if (!status.ok() && !closed_) fail(status.error().message);
}

void SpdySession::on_control(const Control& frame) {
  if (closed_) return;
  auto found = find(frame.stream);
  switch (frame.type) {
    case Type::kSynStream:
      return on_syn(frame);
    case Type::kSynReply:
      if (found == streams_.end()) return;
      if (frame.flags & spdy::kFlagFin) return on_data(frame.stream, {}, true);
      if (handler_ != nullptr) handler_->on_reply(frame.stream);
      return;
    case Type::kHeaders:
      if (found != streams_.end() && (frame.flags & spdy::kFlagFin)) on_data(frame.stream, {}, true);
      return;
    case Type::kRstStream:
      if (found == streams_.end()) return;
      queued_ -= found->second.pending.size();
      streams_.erase(found);
      if (handler_ != nullptr) handler_->on_reset(frame.stream, frame.value);
      return;
    case Type::kPing:
      // The peer's own come back to it; ours do not exist.
      if ((frame.value % 2 == 1) == (role_ == Role::kServer)) send({.type = Type::kPing, .value = frame.value});
      return;
    case Type::kGoAway:
      if (streams_.empty()) finish_all("");
      return;
    case Type::kSettings:
      for (const auto& [id, value] : frame.settings) {
        if (id != spdy::kSettingInitialWindow) continue;
        if (value > kMaxWindow) return fail("SPDY: a window is too large");
        flow_ = true;
        for (auto& [_, state] : streams_) state.window += int64_t{value} - initial_window_;
        initial_window_ = value;
      }
      return pump_all();
    case Type::kWindowUpdate: {
      flow_ = true;
      if (frame.value == 0) return;
      if (frame.stream == 0) {
        window_ += frame.value;
        if (window_ > kMaxWindow) return fail("SPDY: a window is too large");
        return pump_all();
      }
      if (found == streams_.end()) return;
      found->second.window += frame.value;
      if (found->second.window > kMaxWindow) return reset(frame.stream, 7);
      pump(frame.stream, found->second);
      forget_if_done(frame.stream);
      return check_drained();
    }
  }
}

void SpdySession::on_syn(const Control& frame) {
  bool peers = (frame.stream % 2 == 1) == (role_ == Role::kServer);
  if (frame.stream == 0 || !peers || frame.stream <= last_peer_) {
    return fail(fmt::format("SPDY: stream {} cannot be opened", frame.stream));
  }
  last_peer_ = frame.stream;
  if (streams_.size() >= kMaxStreams || handler_ == nullptr) {
    return send({.type = Type::kRstStream, .stream = frame.stream, .value = kRefused});
  }
  State state;
  state.window = initial_window_;
  state.remote_fin = (frame.flags & spdy::kFlagFin) != 0;
  streams_.emplace(frame.stream, std::move(state));
  handler_->on_stream(frame.stream, frame.headers, (frame.flags & spdy::kFlagFin) != 0);
}

void SpdySession::on_data(uint32_t stream, std::string_view bytes, bool fin) {
  if (closed_) return;
  auto found = find(stream);
  if (found == streams_.end()) {
    // Under way when it was reset here; or never opened. Either way the session's window is due again.
    grant(0, bytes.size());
    bool opened = (stream % 2 == 1) == (role_ == Role::kServer) ? stream <= last_peer_ : stream < next_own_;
    if (!opened) send({.type = Type::kRstStream, .stream = stream, .value = kInvalidStream});
    return;
  }
  if (found->second.remote_fin) {
    grant(0, bytes.size());
    if (!bytes.empty()) reset(stream, kAlreadyClosed);
    return;
  }
  if (fin) found->second.remote_fin = true;
  if (bytes.empty() && !fin) return;
  auto self = shared_from_this();
  if (handler_ != nullptr) handler_->on_data(stream, bytes, fin);
  if (fin && !closed_) forget_if_done(stream);
}

uint32_t SpdySession::open(Headers headers) {
  uint32_t stream = next_own_;
  next_own_ += 2;
  State state;
  state.window = initial_window_;
  streams_.emplace(stream, std::move(state));
  if (!closed_) send({.type = Type::kSynStream, .stream = stream, .headers = std::move(headers)});
  return stream;
}

void SpdySession::reply(uint32_t stream) {
  if (!closed_ && find(stream) != streams_.end()) send({.type = Type::kSynReply, .stream = stream});
}

void SpdySession::write(uint32_t stream, std::string_view data) {
  auto found = find(stream);
  if (closed_ || data.empty() || found == streams_.end() || found->second.local_fin || found->second.fin_pending)
    return;
  found->second.pending += data;
  queued_ += data.size();
  pump(stream, found->second);
  if (owed_ || buffered() < kHighWater) return;
  owed_ = true;
  await_drain();
}

void SpdySession::finish(uint32_t stream) {
  auto found = find(stream);
  if (closed_ || found == streams_.end() || found->second.local_fin) return;
  found->second.fin_pending = true;
  pump(stream, found->second);
  forget_if_done(stream);
}

void SpdySession::reset(uint32_t stream, uint32_t status) {
  auto found = find(stream);
  if (closed_ || found == streams_.end()) return;
  queued_ -= found->second.pending.size();
  streams_.erase(found);
  send({.type = Type::kRstStream, .stream = stream, .value = status});
}

/// Sends what the windows allow.
void SpdySession::pump(uint32_t stream, State& state) {
  size_t sent = 0;
  while (sent < state.pending.size()) {
    auto size = static_cast<int64_t>(std::min(kPiece, state.pending.size() - sent));
    if (flow_) size = std::min({size, window_, state.window});
    if (size <= 0) break;
    auto length = static_cast<size_t>(size);
    bool fin = state.fin_pending && sent + length == state.pending.size();
    auto frame = spdy::FrameWriter::data_head(stream, length, fin);
    frame.append(state.pending, sent, length);
    connection_->write(frame);  // whole: in a tunnel each write is a message
    if (fin) state.local_fin = true;
    sent += length;
    window_ -= size;
    state.window -= size;
  }
  queued_ -= sent;
  state.pending.erase(0, sent);
  if (state.fin_pending && state.pending.empty() && !state.local_fin) {
    state.local_fin = true;
    connection_->write(spdy::FrameWriter::data_head(stream, 0, true));
  }
}

void SpdySession::pump_all() {
  for (auto at = streams_.begin(); at != streams_.end();) {
    auto& [stream, state] = *at++;
    pump(stream, state);
    forget_if_done(stream);
  }
  check_drained();
}

void SpdySession::forget_if_done(uint32_t stream) {
  auto found = find(stream);
  if (found != streams_.end() && found->second.local_fin && found->second.remote_fin) streams_.erase(found);
}

void SpdySession::consume(uint32_t stream, size_t bytes) {
  if (closed_) return;
  grant(0, bytes);
  auto found = find(stream);
  if (found == streams_.end() || found->second.remote_fin) return;
  found->second.consumed += bytes;
  if (found->second.consumed < kGrant) return;
  send({.type = Type::kWindowUpdate,
        .stream = stream,
        .value = static_cast<uint32_t>(std::exchange(found->second.consumed, 0))});
}

void SpdySession::grant(uint32_t, size_t bytes) {
  consumed_ += bytes;
  if (consumed_ < kGrant) return;
  send({.type = Type::kWindowUpdate, .stream = 0, .value = static_cast<uint32_t>(std::exchange(consumed_, 0))});
}

void SpdySession::pause() { connection_->pause(); }
void SpdySession::resume() { connection_->resume(); }

void SpdySession::check_drained() {
  if (!owed_ || closed_ || queued_ > kLowWater) return;  // pump_all() looks again
  if (connection_->buffered() > kLowWater) return await_drain();
  owed_ = false;
  if (handler_ != nullptr) handler_->on_drained();
}

void SpdySession::await_drain() {
  connection_->on_drained([weak = weak_from_this()] {
    if (auto self = weak.lock()) self->check_drained();
  });
}

void SpdySession::close() {
  if (closed_) return;
  closed_ = true;
  send({.type = Type::kGoAway, .stream = last_peer_});
  connection_->close();
}

void SpdySession::fail(const std::string& error) {
  send({.type = Type::kGoAway, .stream = last_peer_, .value = kProtocolError});
  connection_->close();
  finish_all(error);
}

void SpdySession::finish_all(const std::string& error) {
  if (closed_) return;
  auto self = shared_from_this();
  closed_ = true;
  connection_->close();
  if (auto* handler = std::exchange(handler_, nullptr)) handler->on_closed(error);
}

namespace {

class WebSocketStream final : public Stream {
 public:
  explicit WebSocketStream(std::shared_ptr<WebSocket> socket) : socket_(std::move(socket)) {}
  void write(std::string_view bytes) override { socket_->send_binary(bytes); }
  size_t buffered() const override { return socket_->buffered(); }
  void on_drained(std::function<void()> callback) override { socket_->on_drained(std::move(callback)); }
  void on_data(std::function<void(std::string_view)> callback) override {
    socket_->on_message([callback = std::move(callback)](std::string_view message, bool) { callback(message); });
  }
  void on_close(std::function<void()> callback) override {
    socket_->on_close([callback = std::move(callback)](uint16_t, std::string_view) { callback(); });
  }
  void pause() override { socket_->pause(); }
  void resume() override { socket_->resume(); }
  void close() override { socket_->close(); }
  bool closed() const override { return socket_->closed(); }

 private:
  std::shared_ptr<WebSocket> socket_;
};

}  // namespace

std::shared_ptr<Stream> make_websocket_stream(std::shared_ptr<WebSocket> socket) {
  return socket ? std::make_shared<WebSocketStream>(std::move(socket)) : nullptr;
}

}  // namespace gantry::http
