// One accepted connection: its channel, what is known of the peer, and the protocol that the handshake chose. Internal
// to libs/http.
#pragma once

#include <list>
#include <memory>
#include <string>

#include "libs/http/channel.h"
#include "libs/http/server.h"

namespace gantry::http {

class Connection;

/// What a server's connections share; lives as long as one of them.
struct ServerCore {
  ServerOptions options;
  Handler handler;
  std::shared_ptr<IoContext> io;
  ServerStats stats;
  size_t receiving = 0;  // bytes of requests that are not answered yet
  /// Takes `bytes` into account; false when that would be too much.
  bool receive(size_t bytes) {
    if (receiving + bytes > options.max_receiving_bytes) return false;
    receiving += bytes;
    return true;
  }
  size_t held = 0;  // bytes of answers that wait on HTTP/2 streams
  bool draining = false;
  std::list<std::shared_ptr<Connection>> connections;
  std::function<void()> on_connection_closed;

  /// A response of the server's own, e.g. 413.
  struct Rejection {
    int status;
    Headers headers;
    std::string body;
  };
  Rejection rejection(int status, std::string_view message);
};

/// HTTP/1 or HTTP/2 on a connection. All calls come from the loop through Connection.
class Protocol {
 public:
  virtual ~Protocol() = default;
  virtual void on_bytes(std::string_view bytes) = 0;
  virtual void on_fill() = 0;
  virtual void on_writable() = 0;
  virtual void on_eof() = 0;
  /// The socket is closed: tell whoever still answers.
  virtual void on_gone() = 0;
  /// Enforces time-outs.
  virtual void check(uint64_t now_ms) = 0;
  /// Finish what runs, take nothing new, then close.
  virtual void drain() = 0;
};

class Connection final : public ChannelHandler, public std::enable_shared_from_this<Connection> {
 public:
  Connection(std::shared_ptr<ServerCore> core, std::shared_ptr<Channel> channel);
  ~Connection();

  Channel& channel() { return *channel_; }
  ServerCore& core() { return *core_; }
  uint64_t now() { return core_->io->now_ms(); }

  /// A request with all that comes from the connection and the target. kBadRequest for a target that cannot be read.
  Result<Request> make_request(std::string method, std::string target, Headers headers, Version version) const;
  /// Hands the request to the handler; an exception there is a 500.
  void dispatch(Request request, const std::shared_ptr<Responder>& responder);

  void check(uint64_t now_ms);
  void drain();
  /// The server goes: no more calls, close.
  void shut();

  /// Where the server keeps this.
  std::list<std::shared_ptr<Connection>>::iterator position;

 private:
  void on_ready(std::string_view alpn) override;
  void on_bytes(std::string_view bytes) override;
  void on_fill() override;
  void on_writable() override;
  void on_eof() override;
  void on_closed() override;

  std::shared_ptr<ServerCore> core_;
  std::shared_ptr<Channel> channel_;
  std::unique_ptr<Protocol> protocol_;  // null until the handshake is done and, without TLS, the first bytes have come
  std::shared_ptr<const PeerCertificate> peer_;
  std::string remote_address_;
  uint64_t accepted_at_;
};

}  // namespace gantry::http
