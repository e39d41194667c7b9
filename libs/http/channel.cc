#include "libs/http/channel.h"

#include <netinet/in.h>
#include <netinet/tcp.h>

#include "libs/http/responder.h"

namespace gantry::http {
namespace {

constexpr unsigned kKeepAliveSeconds = 30;
constexpr size_t kSmall = 16 * 1024;  // buffers above this are given back when empty

Channel* self_of(void* handle) { return static_cast<Channel*>(static_cast<uv_handle_t*>(handle)->data); }

}  // namespace

void Channel::release(std::string& buffer) {
  if (buffer.capacity() > kSmall) {
    std::string().swap(buffer);
  } else {
    buffer.clear();
  }
}

std::shared_ptr<Channel> Channel::create(std::shared_ptr<IoContext> io) {
  auto channel = std::shared_ptr<Channel>(new Channel(std::move(io)));
  channel->self_ = channel;
  return channel;
}

Channel::Channel(std::shared_ptr<IoContext> io) : io_(std::move(io)) {
  uv_tcp_init(io_->raw(), &tcp_);
  tcp_.data = this;
  write_.data = this;
  last_read_ = last_write_ = io_->now_ms();
}

Channel::~Channel() { SSL_free(ssl_); }

bool Channel::accept(uv_stream_t* listener, const TlsContext& tls) {
  if (int rc = uv_accept(listener, reinterpret_cast<uv_stream_t*>(&tcp_)); rc != 0) {
    close(uv_strerror(rc));
    return false;
  }
  uv_tcp_nodelay(&tcp_, 1);
  uv_tcp_keepalive(&tcp_, 1, kKeepAliveSeconds);
  if (tls) start_tls(tls, true, {});
  if (closed_) return false;
  established();
  return true;
}

void Channel::connect(const sockaddr* address, const TlsContext& tls, const std::string& server_name) {
  if (tls) start_tls(tls, false, server_name);
  if (closed_) return;
  auto* request = new uv_connect_t;
  request->data = this;
  int rc = uv_tcp_connect(request, &tcp_, address, [](uv_connect_t* done, int status) {
    auto* channel = static_cast<Channel*>(done->data);
    delete done;
    if (status == UV_ECANCELED || channel->closed_) return;
    if (status != 0) return channel->close(uv_strerror(status));
    uv_tcp_nodelay(&channel->tcp_, 1);
    channel->established();
  });
  if (rc != 0) {
    delete request;
    close(uv_strerror(rc));
  }
}

void Channel::established() {
  connected_ = true;
  if (!paused_) start_reading();
  schedule();  // on_ready(), or the client's hello, comes from tick()
}

void Channel::announce(std::string_view alpn) {
  ready_ = true;
  if (handler_ != nullptr) handler_->on_ready(alpn);
}

void Channel::start_reading() {
  if (reading_ || closed_ || eof_) return;
  reading_ = true;
  uv_read_start(
      reinterpret_cast<uv_stream_t*>(&tcp_),
      [](uv_handle_t* handle, size_t, uv_buf_t* buffer) {
        auto& shared = self_of(handle)->io_->read_buffer();
        *buffer = uv_buf_init(shared.data(), shared.size());
      },
      [](uv_stream_t* stream, ssize_t length, const uv_buf_t* buffer) {
        self_of(stream)->received(length, buffer->base);
      });
}

void Channel::received(ssize_t length, const char* bytes) {
  auto self = self_;
  if (length == 0 || closed_) return;
  if (length == UV_EOF) return peer_finished();
  if (length < 0) return close(uv_strerror(static_cast<int>(length)));
  last_read_ = io_->now_ms();
  if (closing_) return;  // lingering: read and forgotten
  std::string_view input(bytes, static_cast<size_t>(length));
  if (ssl_ == nullptr) {
    if (!ready_) announce({});
    if (handler_ != nullptr) handler_->on_bytes(input);
    return;
  }
  cipher_now_ = input;
  process_tls();
  cipher_left_.append(cipher_now_);
  cipher_now_ = {};
}

void Channel::peer_finished() {
  if (eof_) return;
  eof_ = true;
  if (reading_) uv_read_stop(reinterpret_cast<uv_stream_t*>(&tcp_));
  reading_ = false;
  if (shut_ || !ready_ || handler_ == nullptr) return close("closed by the peer");
  if (!closing_) handler_->on_eof();
}

void Channel::write(std::string_view bytes) {
  if (closing_ || closed_) return;
  out_ += bytes;
  schedule();
}

void Channel::schedule() {
  if (scheduled_ || closed_) return;
  scheduled_ = true;
  io_->schedule(shared_from_this());
}

void Channel::tick() {
  scheduled_ = false;
  if (closed_ || !connected_) return;
  if (ssl_ != nullptr) {
    if (!paused_ && !closing_) process_tls();
  } else if (!ready_) {
    announce({});
  }
  if (!paused_ && ready_) start_reading();
  flush();
}

void Channel::flush() {
  if (closed_) return;
  fill();
  if (writing_) return;
  do {
    gather();
    if (!send()) return;
    fill();
  } while (!wire_.empty() || (ready_ && !out_.empty()));
  if (closed_) return;
  if (closing_) return finish();
  if (handler_ != nullptr && ready_) handler_->on_writable();
}

void Channel::fill() {
  if (handler_ != nullptr && ready_ && !closing_ && !closed_) handler_->on_fill();
}

// Moves output to sending_, through TLS where it is on.
void Channel::gather() {
  if (closed_) return;
  if (ssl_ != nullptr && ready_) encrypt();
  std::string& from = ssl_ != nullptr ? wire_ : out_;
  sending_.swap(from);
  sent_ = 0;
  release(from);
}

// Gives sending_ to the socket; true when it took all of it at once.
bool Channel::send() {
  if (closed_) return false;
  if (sending_.empty()) return true;
  auto* stream = reinterpret_cast<uv_stream_t*>(&tcp_);
  uv_buf_t buffer = uv_buf_init(sending_.data(), sending_.size());
  int taken = uv_try_write(stream, &buffer, 1);
  if (taken < 0 && taken != UV_EAGAIN) {
    close(uv_strerror(taken));
    return false;
  }
  last_write_ = io_->now_ms();
  if (taken > 0) sent_ = static_cast<size_t>(taken);
  if (sent_ == sending_.size()) {
    release(sending_);
    sent_ = 0;
    return true;
  }
  writing_ = true;
  buffer = uv_buf_init(sending_.data() + sent_, sending_.size() - sent_);
  int rc = uv_write(&write_, stream, &buffer, 1, [](uv_write_t* request, int status) {
    auto* channel = static_cast<Channel*>(request->data);
    channel->writing_ = false;
    if (channel->closed_) return;
    if (status != 0) return channel->close(uv_strerror(status));
    release(channel->sending_);
    channel->sent_ = 0;
    channel->last_write_ = channel->io_->now_ms();
    channel->schedule();
  });
  if (rc != 0) {
    writing_ = false;
    close(uv_strerror(rc));
  }
  return false;
}

void Channel::pause() {
  paused_ = true;
  if (!reading_) return;
  reading_ = false;
  uv_read_stop(reinterpret_cast<uv_stream_t*>(&tcp_));
}

void Channel::resume() {
  if (!paused_) return;
  paused_ = false;
  schedule();
}

void Channel::close(std::string reason) {
  if (closed_) return;
  closed_ = true;
  error_ = std::move(reason);
  release(out_);
  uv_close(reinterpret_cast<uv_handle_t*>(&tcp_), [](uv_handle_t* handle) {
    auto* channel = self_of(handle);
    auto self = std::move(channel->self_);
    if (auto* handler = std::exchange(channel->handler_, nullptr)) handler->on_closed();
  });
}

void Channel::close_gracefully() {
  if (closing_ || closed_) return;
  closing_ = true;
  paused_ = false;
  cipher_left_.clear();
  schedule();
}

// All is sent: says so, in TLS and in TCP.
void Channel::finish() {
  if (shut_) return;
  if (ssl_ != nullptr && ready_ && !notified_) {
    notified_ = true;
    SSL_shutdown(ssl_);  // close_notify, into wire_
    return schedule();
  }
  shut_ = true;
  shut_at_ = io_->now_ms();
  if (eof_) return close();
  auto* request = new uv_shutdown_t;
  auto* stream = reinterpret_cast<uv_stream_t*>(&tcp_);
  if (uv_shutdown(request, stream, [](uv_shutdown_t* done, int) { delete done; }) != 0) {
    delete request;
    close();
  }
}

uint16_t Channel::local_port() const {
  sockaddr_storage address{};
  int length = sizeof address;
  if (uv_tcp_getsockname(&tcp_, reinterpret_cast<sockaddr*>(&address), &length) != 0) return 0;
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                             : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
}

uint64_t Channel::stalled_since_ms() {
  if (!writing_) return 0;
  if (std::exchange(last_queue_, tcp_.write_queue_size) != tcp_.write_queue_size) last_write_ = io_->now_ms();
  return last_write_;
}

std::string Channel::remote_address() const {
  sockaddr_storage address{};
  int length = sizeof address;
  if (uv_tcp_getpeername(&tcp_, reinterpret_cast<sockaddr*>(&address), &length) != 0) return {};
  char host[INET6_ADDRSTRLEN] = {};
  if (address.ss_family == AF_INET6) {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&address);
    uv_ip6_name(in6, host, sizeof host);
    return fmt::format("[{}]:{}", host, ntohs(in6->sin6_port));
  }
  auto* in = reinterpret_cast<sockaddr_in*>(&address);
  uv_ip4_name(in, host, sizeof host);
  return fmt::format("{}:{}", host, ntohs(in->sin_port));
}

}  // namespace gantry::http
