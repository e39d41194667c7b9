// One connection to a NATS server, from its resolve to its loss: TCP, TLS and the handshake of the protocol, all on the
// loop without ever blocking it. Internal to NatsBus, which makes a new one for each attempt.
//
// Why not libnats 3.4.1: with TLS its event-loop mode waits inside SSL_read and SSL_write for the other side (a part of
// a record stops the whole loop), and its reconnect thread dials with the connection's lock held, so that a publish
// waits for the time-out of a dead host.
#pragma once

#include <openssl/ssl.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "libs/base/uv_loop.h"
#include "libs/bus/nats_parser.h"

namespace gantry::bus {

struct NatsServerAddress {
  std::string host;
  std::string port = "4222";
  bool tls = false;
};

class NatsLink : public std::enable_shared_from_this<NatsLink> {
 public:
  struct Login {
    NatsServerAddress server;
    std::string ca_file, creds_file, name;
  };
  struct Events {
    std::function<void(std::string_view info)> ready;  // logged in; the server's INFO (JSON)
    std::function<void(uint64_t sid, std::string_view subject, std::string_view reply, std::string_view status,
                       std::string_view data)>
        message;
    std::function<void(std::string_view info)> info;   // a later INFO
    std::function<void(std::string_view text)> error;  // -ERR that leaves the connection
    std::function<void(std::string reason)> lost;      // once, last; also when it never got ready
  };

  static std::shared_ptr<NatsLink> open(UvLoop& loop, Login login, Events events);
  /// No event comes after. What was not sent is dropped.
  void close();

  /// Appends to what is sent at the end of this turn of the loop.
  void write(std::initializer_list<std::string_view> parts);
  /// `pong` is called once the server has processed everything written before; never if the link is lost first.
  void ping(std::function<void()> pong);
  size_t buffered() const;

 private:
  NatsLink(UvLoop& loop, Login login, Events events);
  ~NatsLink();
  struct WriteRequest;

  void start();
  void dial(const sockaddr* address);
  void connected(int status);
  void received(ssize_t size);
  void feed(std::string_view bytes);
  void on_info(std::string_view json);
  Status start_tls();
  void tls_received(std::string_view bytes);
  void tls_flush();
  Status log_in();
  void on_pong();
  void on_ping_timer();
  void flush();
  void send_raw(std::string bytes);
  void fail(std::string reason);

  enum class Phase { kConnecting, kGreeting, kHandshake, kLogin, kReady, kClosed };
  UvLoop& loop_;
  Login login_;
  Events events_;
  Phase phase_ = Phase::kConnecting;
  NatsParser parser_;
  std::string info_, nonce_;
  std::string out_;  // not handed to the socket yet
  std::string read_buffer_;
  size_t writing_ = 0;                       // handed over, not written
  std::deque<std::function<void()>> pongs_;  // awaited, in order
  int silent_ = 0;                           // ping intervals without a pong
  Timer timer_;                              // the connect's time-out, then pings

  SSL_CTX* context_ = nullptr;
  SSL* ssl_ = nullptr;

  uv_tcp_t tcp_{};
  uv_prepare_t prepare_{};  // sends what the turn has appended, before the loop waits
  uv_connect_t connect_{};
  uv_getaddrinfo_t resolve_{};
  int open_ = 0;                    // handles and requests that libuv has
  std::shared_ptr<NatsLink> self_;  // while open_ > 0
  void released();
};

/// "tls://host:port,nats://..." -> addresses; kInvalid.
Result<std::vector<NatsServerAddress>> parse_nats_urls(std::string_view urls);

}  // namespace gantry::bus
