#include "libs/http/websocket.h"

#include <openssl/evp.h>
#include <openssl/sha.h>
#include <wslay/wslay.h>

namespace gantry::http {
namespace {

constexpr size_t kMaxReason = 123;
constexpr uint16_t kAbnormal = 1006;  // RFC 6455: never on the wire, says that no close frame came
constexpr uint16_t kNoStatus = 1005;

const uint8_t* bytes_of(std::string_view text) { return reinterpret_cast<const uint8_t*>(text.data()); }

class WslaySocket final : public WebSocket, public std::enable_shared_from_this<WslaySocket> {
 public:
  WslaySocket(std::shared_ptr<Stream> stream, size_t max_message) : stream_(std::move(stream)) {
    wslay_event_callbacks callbacks{};
    callbacks.recv_callback = [](wslay_event_context_ptr context, uint8_t* out, size_t length, int, void* self) {
      return static_cast<WslaySocket*>(self)->take(context, out, length);
    };
    callbacks.send_callback = [](wslay_event_context_ptr, const uint8_t* data, size_t length, int, void* self) {
      static_cast<WslaySocket*>(self)->stream_->write({reinterpret_cast<const char*>(data), length});
      return static_cast<ssize_t>(length);
    };
    callbacks.on_msg_recv_callback = [](wslay_event_context_ptr, const wslay_event_on_msg_recv_arg* message,
                                        void* self) { static_cast<WslaySocket*>(self)->received(*message); };
    CHECK_EQ(wslay_event_context_server_init(&context_, &callbacks, this), 0);
    wslay_event_config_set_max_recv_msg_length(context_, max_message);
  }

  ~WslaySocket() override { wslay_event_context_free(context_); }

  void listen() {
    stream_->on_close([weak = weak_from_this()] {
      if (auto self = weak.lock()) self->finish(kAbnormal, "connection lost");
    });
  }

  void send_binary(std::string_view message) override { queue(WSLAY_BINARY_FRAME, message); }
  void send_text(std::string_view message) override { queue(WSLAY_TEXT_FRAME, message); }
  void ping() override { queue(WSLAY_PING, {}); }

  void close(uint16_t code, std::string_view reason) override {
    if (closed_) return;
    closed_ = true;
    reason = reason.substr(0, kMaxReason);
    wslay_event_queue_close(context_, code, bytes_of(reason), reason.size());
    wslay_event_send(context_);
    stream_->close();
    forget();
  }

  size_t buffered() const override { return stream_->buffered(); }
  void on_drained(std::function<void()> callback) override { stream_->on_drained(std::move(callback)); }

  void on_message(std::function<void(std::string_view, bool)> callback) override {
    if (closed_) return;
    message_ = std::make_shared<MessageCallback>(std::move(callback));
    stream_->on_data([weak = weak_from_this()](std::string_view bytes) {
      if (auto self = weak.lock()) self->input(bytes);
    });
  }

  void on_close(std::function<void(uint16_t, std::string_view)> callback) override {
    if (!closed_) close_ = std::move(callback);
  }

  void pause() override { stream_->pause(); }
  void resume() override { stream_->resume(); }
  bool closed() const override { return closed_; }

 private:
  using MessageCallback = std::function<void(std::string_view, bool)>;

  void queue(uint8_t opcode, std::string_view message) {
    if (closed_) return;
    wslay_event_msg out{opcode, bytes_of(message), message.size()};
    wslay_event_queue_msg(context_, &out);
    // At once, also from inside on_message(): a close frame, which wslay sends first, must not overtake this.
    wslay_event_send(context_);
  }

  ssize_t take(wslay_event_context_ptr context, uint8_t* out, size_t length) {
    if (input_.empty()) {
      wslay_event_set_error(context, WSLAY_ERR_WOULDBLOCK);
      return -1;
    }
    size_t taken = input_.copy(reinterpret_cast<char*>(out), length);
    input_.remove_prefix(taken);
    return static_cast<ssize_t>(taken);
  }

  void input(std::string_view bytes) {
    if (closed_) return;
    input_ = bytes;
    int rc = wslay_event_recv(context_);
    input_ = {};
    if (closed_) return;         // by the handler, meanwhile
    wslay_event_send(context_);  // pongs, the answer to a close frame
    if (peer_closed_ || rc != 0 || wslay_event_want_read(context_) == 0) {
      uint16_t code = peer_closed_ ? peer_code_ : wslay_event_get_status_code_sent(context_);
      stream_->close();
      finish(code == 0 ? kAbnormal : code, peer_closed_ ? peer_reason_ : "protocol error");
    }
  }

  void received(const wslay_event_on_msg_recv_arg& message) {
    if (weak_from_this().use_count() == 1) return;  // only input() holds this: dropped by an earlier message
    std::string_view bytes(reinterpret_cast<const char*>(message.msg), message.msg_length);
    if (message.opcode == WSLAY_CONNECTION_CLOSE) {
      peer_closed_ = true;
      peer_code_ = message.status_code == 0 ? kNoStatus : message.status_code;
      if (bytes.size() > 2) peer_reason_ = bytes.substr(2);
    } else if (!wslay_is_ctrl_frame(message.opcode) && message_ && !closed_) {
      auto callback = message_;  // it may close this, which forgets it
      (*callback)(bytes, message.opcode == WSLAY_BINARY_FRAME);
    }
  }

  void finish(uint16_t code, std::string_view reason) {
    if (closed_) return;
    closed_ = true;
    auto close = std::exchange(close_, nullptr);
    forget();
    if (close) close(code, reason);
  }

  void forget() {
    auto self = weak_from_this().lock();  // callbacks may hold the last reference
    auto message = std::exchange(message_, nullptr);
    auto close = std::exchange(close_, nullptr);
  }

  std::shared_ptr<Stream> stream_;
  wslay_event_context_ptr context_ = nullptr;
  std::string_view input_;
  std::shared_ptr<MessageCallback> message_;
  std::function<void(uint16_t, std::string_view)> close_;
  std::string peer_reason_;
  uint16_t peer_code_ = 0;
  bool peer_closed_ = false, closed_ = false;
};

}  // namespace

std::string websocket_accept(std::string_view key) {
  std::string input(key);
  input += "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
  unsigned char digest[SHA_DIGEST_LENGTH];
  SHA1(bytes_of(input), input.size(), digest);
  unsigned char text[4 * ((SHA_DIGEST_LENGTH + 2) / 3) + 1];
  int length = EVP_EncodeBlock(text, digest, sizeof digest);
  return {reinterpret_cast<char*>(text), static_cast<size_t>(length)};
}

std::shared_ptr<WebSocket> make_websocket(std::shared_ptr<Stream> stream, size_t max_message) {
  if (!stream) return nullptr;
  auto socket = std::make_shared<WslaySocket>(std::move(stream), max_message);
  socket->listen();
  return socket;
}

}  // namespace gantry::http
