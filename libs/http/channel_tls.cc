// Channel's TLS: OpenSSL between two buffers, through a BIO that never blocks on output.
#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "libs/http/channel.h"

namespace gantry::http {
namespace {

constexpr size_t kRecord = 16 * 1024;
constexpr size_t kWireTarget = 256 * 1024;  // how much is encrypted ahead of the socket

}  // namespace

BIO_METHOD* Channel::bio_method() {
  static BIO_METHOD* method = [] {
    BIO_METHOD* made = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gantry channel");
    BIO_meth_set_read(made, bio_read);
    BIO_meth_set_write(made, bio_write);
    BIO_meth_set_ctrl(made, bio_ctrl);
    return made;
  }();
  return method;
}

int Channel::bio_read(BIO* bio, char* out, int length) {
  auto* channel = static_cast<Channel*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  size_t want = static_cast<size_t>(length), got = 0;
  if (!channel->cipher_left_.empty()) {
    got = channel->cipher_left_.copy(out, want);
    channel->cipher_left_.erase(0, got);
  }
  if (got < want && !channel->cipher_now_.empty()) {
    size_t more = channel->cipher_now_.copy(out + got, want - got);
    channel->cipher_now_.remove_prefix(more);
    got += more;
  }
  if (got == 0) {
    BIO_set_retry_read(bio);
    return -1;
  }
  return static_cast<int>(got);
}

int Channel::bio_write(BIO* bio, const char* in, int length) {
  BIO_clear_retry_flags(bio);
  static_cast<Channel*>(BIO_get_data(bio))->wire_.append(in, static_cast<size_t>(length));
  return length;
}

// OpenSSL flushes at the end of each flight and takes 0 for failure.
long Channel::bio_ctrl(BIO*, int command, long, void*) { return command == BIO_CTRL_FLUSH ? 1 : 0; }

void Channel::start_tls(const TlsContext& tls, bool server, const std::string& server_name) {
  ERR_clear_error();
  ssl_ = SSL_new(tls.get());
  BIO* bio = ssl_ == nullptr ? nullptr : BIO_new(bio_method());
  if (bio == nullptr) return close("TLS: " + openssl_errors());
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  if (server) {
    SSL_set_accept_state(ssl_);
    return;
  }
  SSL_set_connect_state(ssl_);
  if (server_name.empty()) return;
  X509_VERIFY_PARAM* verify = SSL_get0_param(ssl_);
  if (X509_VERIFY_PARAM_set1_ip_asc(verify, server_name.c_str()) != 1) {
    ERR_clear_error();
    SSL_set1_host(ssl_, server_name.c_str());
    SSL_set_tlsext_host_name(ssl_, server_name.c_str());
  }
}

bool Channel::handshake() {
  if (ready_) return true;
  ERR_clear_error();
  int rc = SSL_do_handshake(ssl_);
  if (!wire_.empty()) schedule();
  if (rc != 1) {
    if (SSL_get_error(ssl_, rc) != SSL_ERROR_WANT_READ) tls_failed("TLS handshake");
    return false;
  }
  const unsigned char* alpn = nullptr;
  unsigned length = 0;
  SSL_get0_alpn_selected(ssl_, &alpn, &length);
  announce({reinterpret_cast<const char*>(alpn), length});
  return !closed_;
}

void Channel::process_tls() {
  if (!handshake()) return;
  auto& plain = io_->plain_buffer();
  while (!paused_ && !closing_ && !closed_) {
    ERR_clear_error();
    int length = SSL_read(ssl_, plain.data(), plain.size());
    if (length > 0) {
      if (handler_ != nullptr) handler_->on_bytes({plain.data(), static_cast<size_t>(length)});
      continue;
    }
    int error = SSL_get_error(ssl_, length);
    if (error == SSL_ERROR_ZERO_RETURN) peer_finished();
    if (error != SSL_ERROR_ZERO_RETURN && error != SSL_ERROR_WANT_READ) tls_failed("TLS");
    break;
  }
  if (!wire_.empty()) schedule();
}

void Channel::encrypt() {
  while (out_taken_ < out_.size() && wire_.size() < kWireTarget) {
    size_t length = std::min(kRecord, out_.size() - out_taken_);
    ERR_clear_error();
    if (SSL_write(ssl_, out_.data() + out_taken_, static_cast<int>(length)) <= 0) return tls_failed("TLS write");
    out_taken_ += length;
  }
  if (out_taken_ == out_.size()) {
    release(out_);
    out_taken_ = 0;
  } else if (out_taken_ > out_.size() / 2) {
    out_.erase(0, out_taken_);
    out_taken_ = 0;
  }
}

void Channel::tls_failed(const char* what) {
  std::string reason = openssl_errors();
  long verified = SSL_get_verify_result(ssl_);
  if (verified != X509_V_OK) reason += fmt::format(" ({})", X509_verify_cert_error_string(verified));
  // The alert that tells the peer why is in wire_: give it one chance to leave.
  if (!writing_ && !wire_.empty()) {
    uv_buf_t buffer = uv_buf_init(wire_.data(), wire_.size());
    uv_try_write(reinterpret_cast<uv_stream_t*>(&tcp_), &buffer, 1);
  }
  close(fmt::format("{}: {}", what, reason));
}

}  // namespace gantry::http
