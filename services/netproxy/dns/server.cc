#include "services/netproxy/dns/server.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <glog/logging.h>

#include <map>
#include <unordered_map>

namespace gantry::netproxy {
namespace {

constexpr uint8_t kServFail = 2, kRefused = 5;
constexpr size_t kMaxPending = 4096;  // forwarded queries in flight
constexpr size_t kMaxTcpClients = 256;
constexpr uint64_t kTcpIdleMillis = 10'000;

Result<sockaddr_in> parse_address(const std::string& text, int default_port) {
  std::string ip = text;
  int port = default_port;
  if (auto colon = text.find(':'); colon != std::string::npos) {
    ip = text.substr(0, colon);
    port = std::atoi(text.c_str() + colon + 1);  // NOLINT(cert-err34-c): checked below
  }
  sockaddr_in address{};
  if (port < 0 || port > 65535 || uv_ip4_addr(ip.c_str(), port, &address) != 0) {
    return Error{Code::kInvalid, "not an address: " + text};
  }
  return address;
}

class Server final : public DnsServer {
 public:
  Server(UvLoop& loop, const Zone& zone, DnsOptions options, std::function<bool()> ready)
      : loop_(loop), zone_(zone), options_(std::move(options)), ready_(std::move(ready)) {}

  ~Server() override {
    if (handles_ == nullptr) return;
    handles_->server = nullptr;
    while (!clients_.empty()) close_client(clients_.begin()->second);
    close(&handles_->udp);
    close(&handles_->tcp);
    close(&handles_->up);
  }

  Status start() {
    auto address = parse_address(options_.listen, 53);
    if (!address.ok()) return address.error();
    for (const auto& upstream : options_.upstream) {
      auto parsed = parse_address(upstream, 53);
      if (!parsed.ok()) return parsed.error();
      upstream_.push_back(*parsed);
    }
    auto* raw = loop_.raw();
    handles_ = new Handles{};
    handles_->server = this;
    for (auto* handle : {&handles_->udp, &handles_->up}) {
      uv_udp_init(raw, handle);
      handle->data = handles_;
    }
    uv_tcp_init(raw, &handles_->tcp);
    handles_->tcp.data = handles_;
    auto* bind = reinterpret_cast<const sockaddr*>(&*address);
    int rc = uv_udp_bind(&handles_->udp, bind, UV_UDP_REUSEADDR);
    if (rc == 0) {
      sockaddr_in bound{};
      int size = sizeof bound;
      uv_udp_getsockname(&handles_->udp, reinterpret_cast<sockaddr*>(&bound), &size);
      port_ = ntohs(bound.sin_port);
      address->sin_port = bound.sin_port;
      rc = uv_tcp_bind(&handles_->tcp, bind, 0);
    }
    if (rc == 0) rc = uv_udp_recv_start(&handles_->udp, allocate, on_query);
    if (rc == 0) rc = uv_listen(reinterpret_cast<uv_stream_t*>(&handles_->tcp), 64, on_client);
    if (rc == 0) {
      sockaddr_in any{};
      uv_ip4_addr("0.0.0.0", 0, &any);
      rc = uv_udp_bind(&handles_->up, reinterpret_cast<sockaddr*>(&any), 0);
      if (rc == 0) rc = uv_udp_recv_start(&handles_->up, allocate, on_upstream);
    }
    if (rc != 0) return Error{Code::kInternal, fmt::format("dns on {}: {}", options_.listen, uv_strerror(rc))};
    return Done{};
  }

  uint16_t port() const override { return port_; }
  const Counters& counters() const override { return counters_; }

 private:
  /// Outlives the server until libuv has closed all three.
  struct Handles {
    uv_udp_t udp, up;
    uv_tcp_t tcp;
    Server* server = nullptr;
    int open = 3;
  };
  struct Client {
    uv_tcp_t tcp;
    uv_timer_t idle;
    Server* server;
    uint64_t id;
    std::string input;
    int open = 2;
  };
  using Reply = std::function<void(const std::string&)>;
  struct Pending {
    std::string query;
    Reply reply;
    size_t next_upstream;
    Timer timer;
  };

  template <typename H>
  static void close(H* handle) {
    uv_close(reinterpret_cast<uv_handle_t*>(handle), [](uv_handle_t* h) {
      auto* handles = static_cast<Handles*>(h->data);
      if (--handles->open == 0) delete handles;
    });
  }

  static void allocate(uv_handle_t*, size_t, uv_buf_t* buf) {
    static thread_local char buffer[65536];
    *buf = uv_buf_init(buffer, sizeof buffer);
  }

  static void on_query(uv_udp_t* handle, ssize_t n, const uv_buf_t* buf, const sockaddr* from, unsigned flags) {
    auto* self = static_cast<Handles*>(handle->data)->server;
    if (self == nullptr || n <= 0 || from == nullptr || (flags & UV_UDP_PARTIAL) != 0) return;
    sockaddr_in peer = *reinterpret_cast<const sockaddr_in*>(from);
    self->handle(std::string(buf->base, static_cast<size_t>(n)), 512,
                 [self, peer](const std::string& reply) { self->send(&self->handles_->udp, reply, peer); });
  }

  static void on_upstream(uv_udp_t* handle, ssize_t n, const uv_buf_t* buf, const sockaddr* from, unsigned) {
    auto* self = static_cast<Handles*>(handle->data)->server;
    if (self == nullptr || n < 12 || from == nullptr) return;
    const auto* peer = reinterpret_cast<const sockaddr_in*>(from);
    uint16_t id = static_cast<uint16_t>((static_cast<uint8_t>(buf->base[0]) << 8) | static_cast<uint8_t>(buf->base[1]));
    auto it = self->pending_.find(id);
    if (it == self->pending_.end()) return;
    bool known = false;
    for (const auto& u : self->upstream_) {
      known |= u.sin_addr.s_addr == peer->sin_addr.s_addr && u.sin_port == peer->sin_port;
    }
    if (!known) return;
    auto pending = std::move(it->second);
    self->pending_.erase(it);
    std::string reply(buf->base, static_cast<size_t>(n));
    reply[0] = pending.query[0];
    reply[1] = pending.query[1];
    pending.reply(reply);
  }

  void send(uv_udp_t* handle, const std::string& data, const sockaddr_in& to) {
    if (data.empty()) return;
    auto buf = uv_buf_init(const_cast<char*>(data.data()), static_cast<unsigned>(data.size()));
    uv_udp_try_send(handle, &buf, 1, reinterpret_cast<const sockaddr*>(&to));  // a lost reply is asked for again
  }

  void handle(std::string query, size_t limit, Reply reply) {
    ++counters_.queries;
    if (!ready_()) {
      ++counters_.failed;
      return reply(failure_reply(query, kServFail));
    }
    if (auto answer = answer_query(zone_, query, limit)) return reply(*answer);
    if (upstream_.empty()) return reply(failure_reply(query, kRefused));
    if (pending_.size() >= kMaxPending) {
      ++counters_.failed;
      return reply(failure_reply(query, kServFail));
    }
    ++counters_.forwarded;
    uint16_t id = next_id_++;
    while (pending_.contains(id)) id = next_id_++;
    pending_[id] = Pending{std::move(query), std::move(reply), 0, {}};
    try_upstream(id);
  }

  void try_upstream(uint16_t id) {
    auto& pending = pending_[id];
    if (pending.next_upstream >= upstream_.size()) {
      ++counters_.failed;
      auto lost = std::move(pending);
      pending_.erase(id);
      return lost.reply(failure_reply(lost.query, kServFail));
    }
    std::string query = pending.query;
    query[0] = static_cast<char>(id >> 8);
    query[1] = static_cast<char>(id & 255);
    send(&handles_->up, query, upstream_[pending.next_upstream++]);
    pending.timer = loop_.after(options_.upstream_timeout, [this, id] { try_upstream(id); });
  }

  static void on_client(uv_stream_t* listener, int status) {
    auto* self = static_cast<Handles*>(listener->data)->server;
    if (self == nullptr || status != 0) return;
    auto* client = new Client{{}, {}, self, self->next_client_++, {}};
    uv_tcp_init(listener->loop, &client->tcp);
    uv_timer_init(listener->loop, &client->idle);
    client->tcp.data = client->idle.data = client;
    self->clients_[client->id] = client;
    if (uv_accept(listener, reinterpret_cast<uv_stream_t*>(&client->tcp)) != 0 ||
        self->clients_.size() > kMaxTcpClients) {
      return self->close_client(client);
    }
    uv_timer_start(
        &client->idle,
        [](uv_timer_t* t) {
          auto* c = static_cast<Client*>(t->data);
          c->server->close_client(c);
        },
        kTcpIdleMillis, 0);
    uv_read_start(reinterpret_cast<uv_stream_t*>(&client->tcp), allocate,
                  [](uv_stream_t* s, ssize_t n, const uv_buf_t* buf) {
                    auto* c = static_cast<Client*>(s->data);
                    if (n < 0) return c->server->close_client(c);
                    c->input.append(buf->base, static_cast<size_t>(n));
                    c->server->read_client(c);
                  });
  }

  void read_client(Client* client) {
    uv_timer_again(&client->idle);
    uint64_t id = client->id;
    while (client->input.size() >= 2) {
      size_t size = (static_cast<uint8_t>(client->input[0]) << 8) | static_cast<uint8_t>(client->input[1]);
      if (client->input.size() < 2 + size) return;
      std::string query = client->input.substr(2, size);
      client->input.erase(0, 2 + size);
      handle(std::move(query), 65535, [this, id](const std::string& reply) {
        auto it = clients_.find(id);
        if (it != clients_.end() && !reply.empty()) write_client(it->second, reply);
      });
      if (!clients_.contains(id)) return;
    }
  }

  static void write_client(Client* client, const std::string& reply) {
    struct Write {
      uv_write_t request;
      std::string data;
    };
    auto* write = new Write;
    write->request.data = write;
    write->data = std::string{static_cast<char>(reply.size() >> 8), static_cast<char>(reply.size() & 255)} + reply;
    auto buf = uv_buf_init(write->data.data(), static_cast<unsigned>(write->data.size()));
    uv_write(&write->request, reinterpret_cast<uv_stream_t*>(&client->tcp), &buf, 1,
             [](uv_write_t* r, int) { delete static_cast<Write*>(r->data); });
  }

  void close_client(Client* client) {
    if (clients_.erase(client->id) == 0) return;
    auto done = [](uv_handle_t* h) {
      auto* c = static_cast<Client*>(h->data);
      if (--c->open == 0) delete c;
    };
    uv_close(reinterpret_cast<uv_handle_t*>(&client->tcp), done);
    uv_close(reinterpret_cast<uv_handle_t*>(&client->idle), done);
  }

  UvLoop& loop_;
  const Zone& zone_;
  DnsOptions options_;
  std::function<bool()> ready_;
  std::vector<sockaddr_in> upstream_;
  Handles* handles_ = nullptr;
  uint16_t port_ = 0;
  std::unordered_map<uint16_t, Pending> pending_;
  uint16_t next_id_ = static_cast<uint16_t>(uv_hrtime());
  std::map<uint64_t, Client*> clients_;
  uint64_t next_client_ = 1;
  Counters counters_;
};

}  // namespace

Result<std::unique_ptr<DnsServer>> DnsServer::start(UvLoop& loop, const Zone& zone, DnsOptions options,
                                                    std::function<bool()> ready) {
  auto server = std::make_unique<Server>(loop, zone, std::move(options), std::move(ready));
  auto status = server->start();
  if (!status.ok()) return status.error();
  return std::unique_ptr<DnsServer>(std::move(server));
}

}  // namespace gantry::netproxy
