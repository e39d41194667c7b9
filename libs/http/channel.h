// A TCP connection, with TLS or without, as bytes in and bytes out. Output is gathered and leaves once a tick, in TLS
// records of up to 16 KB; input stops while the consumer pauses. Internal to libs/http. Loop's thread only.
//
// A channel lives until its socket is closed, whoever drops it: open() or accept(), then close() (at once) or
// close_gracefully().
#pragma once

#include <openssl/ssl.h>
#include <uv.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "libs/http/io_context.h"
#include "libs/http/tls.h"

namespace gantry::http {

/// Calls from a channel; always from the loop, never from inside a call on the channel.
class ChannelHandler {
 public:
  /// Connected, and the TLS handshake done. `alpn` is "h2", "http/1.1" or empty.
  virtual void on_ready(std::string_view alpn) = 0;
  /// Input. All of it is the handler's now: after pause() it keeps what it does not want yet.
  virtual void on_bytes(std::string_view bytes) = 0;
  /// Once a tick or more, before output leaves: append what else should go with it while wants_output().
  virtual void on_fill() {}
  /// Output has gone and at most kLowWater bytes wait.
  virtual void on_writable() {}
  /// The peer sends no more. Called once; default: nothing else comes but on_closed().
  virtual void on_eof() = 0;
  /// The socket is closed. The last call.
  virtual void on_closed() = 0;

 protected:
  ~ChannelHandler() = default;
};

class Channel : public std::enable_shared_from_this<Channel> {
 public:
  static std::shared_ptr<Channel> create(std::shared_ptr<IoContext> io);
  ~Channel();
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  /// The handler outlives the channel or calls detach().
  void attach(ChannelHandler* handler) { handler_ = handler; }
  void detach() { handler_ = nullptr; }

  /// Takes a waiting connection of `listener`. False when that fails; close() is called then.
  bool accept(uv_stream_t* listener, const TlsContext& tls);
  /// Connects; on_ready() or on_closed() with error() follows. `server_name` is checked against the certificate unless
  /// empty.
  void connect(const sockaddr* address, const TlsContext& tls, const std::string& server_name);

  void write(std::string_view bytes);
  /// From on_fill() only: as write(), for what leaves in this tick.
  void append(std::string_view bytes) { out_ += bytes; }
  /// Has on_fill(), the flush and on_writable() run at the end of this tick.
  void schedule();
  /// Everything written and not yet taken by the socket.
  size_t buffered() const { return out_.size() - out_taken_ + wire_.size() + (writing_ ? tcp_.write_queue_size : 0); }
  /// Room for on_fill(): output beyond this waits in the protocol's own queues.
  bool wants_output() const { return !closed_ && !closing_ && out_.size() - out_taken_ < 64 * 1024; }

  void pause();
  void resume();
  bool paused() const { return paused_; }

  /// Drops everything and closes now; on_closed() follows.
  void close(std::string reason = {});
  /// Sends what is buffered and a FIN, ignores further input until the peer closes, then closes. The owner bounds the
  /// wait with close().
  void close_gracefully();
  bool closing() const { return closing_ || closed_; }
  bool closed() const { return closed_; }

  const std::string& error() const { return error_; }
  std::string remote_address() const;
  uint16_t local_port() const;
  const SSL* ssl() const { return ssl_; }
  bool ready() const { return ready_; }
  /// When the socket last took or gave bytes, IoContext::now_ms().
  uint64_t last_read_ms() const { return last_read_; }
  /// When everything was sent after close_gracefully(); 0 before.
  uint64_t shut_since_ms() const { return shut_at_; }
  /// Since when output waits without progress; 0 when none waits.
  uint64_t stalled_since_ms();

 private:
  friend class IoContext;
  explicit Channel(std::shared_ptr<IoContext> io);
  void tick();
  void start_tls(const TlsContext& tls, bool server, const std::string& server_name);
  void established();
  void announce(std::string_view alpn);
  void start_reading();
  void received(ssize_t length, const char* bytes);
  void peer_finished();
  void flush();
  void fill();
  void gather();
  bool send();
  void finish();
  /// Empties `buffer`, and gives its memory back when that is much.
  static void release(std::string& buffer);

  // channel_tls.cc
  void process_tls();
  bool handshake();
  void encrypt();
  void tls_failed(const char* what);
  static BIO_METHOD* bio_method();
  static int bio_read(BIO* bio, char* out, int length);
  static int bio_write(BIO* bio, const char* in, int length);
  static long bio_ctrl(BIO* bio, int command, long, void*);

  std::shared_ptr<IoContext> io_;
  ChannelHandler* handler_ = nullptr;
  std::shared_ptr<Channel> self_;  // until the socket is closed
  uv_tcp_t tcp_{};
  uv_write_t write_{};
  SSL* ssl_ = nullptr;

  // Output moves on from one to the next as the socket takes it.
  std::string out_;      // written, from out_taken_
  std::string wire_;     // TLS records
  std::string sending_;  // with the socket, from sent_; not touched while writing_
  size_t out_taken_ = 0, sent_ = 0;
  // TLS input not yet decrypted: what a pause left over, then what was just read.
  std::string cipher_left_;
  std::string_view cipher_now_;
  uint64_t last_read_ = 0, last_write_ = 0, shut_at_ = 0;
  size_t last_queue_ = 0;  // of the socket, when last looked at
  std::string error_;

  bool connected_ = false, ready_ = false, reading_ = false, paused_ = false, eof_ = false;
  bool scheduled_ = false, writing_ = false;
  bool closing_ = false, notified_ = false, shut_ = false, closed_ = false;  // stages of going
};

}  // namespace gantry::http
