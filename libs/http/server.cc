#include "libs/http/server.h"

#include "libs/http/connection.h"

namespace gantry::http {
namespace {

constexpr int kBacklog = 1024;
constexpr std::chrono::milliseconds kDrainStep{50};

/// host:port or [host]:port to a socket address. Numeric hosts only: a server's own address needs no name service.
Result<sockaddr_storage> parse_listen(const std::string& listen) {
  size_t colon = listen.rfind(':');
  Error error{Code::kInvalid, fmt::format("cannot listen on \"{}\": want host:port with a numeric host", listen)};
  if (colon == std::string::npos) return error;
  std::string host = listen.substr(0, colon), digits = listen.substr(colon + 1);
  if (digits.empty() || digits.size() > 5 || digits.find_first_not_of("0123456789") != std::string::npos) return error;
  int port = std::stoi(digits);
  if (port > 65535) return error;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  if (host == "localhost") host = "127.0.0.1";
  if (host.empty()) host = "0.0.0.0";
  sockaddr_storage address{};
  if (uv_ip4_addr(host.c_str(), port, reinterpret_cast<sockaddr_in*>(&address)) == 0) return address;
  if (uv_ip6_addr(host.c_str(), port, reinterpret_cast<sockaddr_in6*>(&address)) == 0) return address;
  return error;
}

}  // namespace

class Server::Impl {
 public:
  Impl(UvLoop& loop, ServerOptions options, Handler handler) : loop_(loop), core_(std::make_shared<ServerCore>()) {
    core_->options = std::move(options);
    core_->handler = std::move(handler);
    core_->io = IoContext::create(loop);
    core_->on_connection_closed = [this] { finish_drain(); };
  }

  ~Impl() {
    core_->on_connection_closed = nullptr;
    close_listener();
    // Not destroyed here: one of them may be on the stack.
    for (auto& connection : core_->connections) {
      connection->shut();
      core_->io->bury(connection);
    }
    core_->connections.clear();
  }

  Status start() {
    if (Status loaded = load_certificates(); !loaded) return loaded;
    auto address = parse_listen(core_->options.listen);
    if (!address) return address.error();
    listener_ = new uv_tcp_t;
    uv_tcp_init(loop_.raw(), listener_);
    listener_->data = this;
    int rc = uv_tcp_bind(listener_, reinterpret_cast<const sockaddr*>(&*address), 0);
    if (rc == 0) {
      rc = uv_listen(reinterpret_cast<uv_stream_t*>(listener_), kBacklog,
                     [](uv_stream_t* listener, int status) { static_cast<Impl*>(listener->data)->accept(status); });
    }
    if (rc != 0) {
      close_listener();
      return Error{Code::kInvalid, fmt::format("cannot listen on {}: {}", core_->options.listen, uv_strerror(rc))};
    }
    sockaddr_storage bound{};
    int length = sizeof bound;
    uv_tcp_getsockname(listener_, reinterpret_cast<sockaddr*>(&bound), &length);
    port_ = ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&bound)->sin6_port
                                              : reinterpret_cast<sockaddr_in*>(&bound)->sin_port);
    const auto& o = core_->options;
    auto shortest = std::min({o.header_timeout, o.body_timeout, o.idle_timeout, o.write_timeout});
    auto period = std::clamp(shortest / 4, std::chrono::milliseconds(25), std::chrono::milliseconds(1000));
    sweep_ = loop_.every(period, [this] { sweep(); });
    return Done{};
  }

  Status load_certificates() {
    const auto& o = core_->options;
    if (o.tls_cert_file.empty() && o.tls_key_file.empty()) return Done{};
    auto made = server_tls({o.tls_cert_file, o.tls_key_file, o.client_ca_file});
    if (!made) return made.error();
    tls_ = std::move(*made);
    return Done{};
  }

  void drain(std::function<void()> done) {
    close_listener();
    core_->draining = true;
    drained_ = std::move(done);
    uint64_t deadline = core_->io->now_ms() + static_cast<uint64_t>(core_->options.drain_timeout.count());
    auto step = [this, deadline] {
      auto core = core_;
      bool late = core->io->now_ms() >= deadline;
      auto connections = core->connections;  // a callback may destroy the server
      for (auto& connection : connections) {
        if (!core->on_connection_closed) return;
        if (late) {
          connection->channel().close("drained");
        } else {
          connection->drain();
        }
      }
      if (core->on_connection_closed) finish_drain();
    };
    drain_step_ = loop_.every(kDrainStep, step);
    loop_.post([weak = std::weak_ptr(core_), step] {
      if (auto core = weak.lock(); core && core->on_connection_closed) step();
    });
  }

  uint16_t port() const { return port_; }
  ServerStats stats() const {
    ServerStats stats = core_->stats;
    stats.connections = core_->connections.size();
    return stats;
  }

 private:
  void accept(int status) {
    if (status != 0) {
      LOG(WARNING) << "listen=" << core_->options.listen << " accept: " << uv_strerror(status);
      return;
    }
    auto channel = Channel::create(core_->io);
    if (core_->connections.size() >= core_->options.max_connections) {
      ++core_->stats.refused;
      if (channel->accept(reinterpret_cast<uv_stream_t*>(listener_), nullptr)) channel->close("too many connections");
      return;
    }
    if (!channel->accept(reinterpret_cast<uv_stream_t*>(listener_), tls_)) return;
    ++core_->stats.accepted;
    auto connection = std::make_shared<Connection>(core_, std::move(channel));
    connection->position = core_->connections.insert(core_->connections.end(), connection);
  }

  void sweep() {
    uint64_t now = core_->io->now_ms();
    for (auto& connection : core_->connections) connection->check(now);
  }

  void finish_drain() {
    if (!core_->draining || !core_->connections.empty() || !drained_) return;
    drain_step_.reset();
    auto done = std::exchange(drained_, nullptr);
    done();  // may destroy the server
  }

  void close_listener() {
    if (listener_ == nullptr) return;
    uv_close(reinterpret_cast<uv_handle_t*>(std::exchange(listener_, nullptr)),
             [](uv_handle_t* handle) { delete reinterpret_cast<uv_tcp_t*>(handle); });
  }

  UvLoop& loop_;
  std::shared_ptr<ServerCore> core_;
  TlsContext tls_;
  uv_tcp_t* listener_ = nullptr;
  uint16_t port_ = 0;
  Timer sweep_, drain_step_;
  std::function<void()> drained_;
};

Server::Server(UvLoop& loop, ServerOptions options, Handler handler)
    : impl_(std::make_unique<Impl>(loop, std::move(options), std::move(handler))) {}
Server::~Server() = default;
Status Server::start() { return impl_->start(); }
uint16_t Server::port() const { return impl_->port(); }
Status Server::reload_certificates() { return impl_->load_certificates(); }
void Server::drain(std::function<void()> done) { impl_->drain(std::move(done)); }
ServerStats Server::stats() const { return impl_->stats(); }

}  // namespace gantry::http
