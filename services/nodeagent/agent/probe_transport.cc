#include "services/nodeagent/agent/probe_transport.h"

#include <arpa/inet.h>

#include "libs/http/client.h"

namespace gantry::nodeagent {

namespace {

constexpr char kUserAgent[] = "kube-probe/1.34";

// One TCP connect; deletes itself when the socket is closed.
struct Connect {
  uv_tcp_t handle;
  uv_connect_t request;
  Timer timeout;
  std::function<void(Status)> done;

  void finish(Status outcome) {
    if (!done) return;
    timeout.reset();
    auto call = std::move(done);
    done = nullptr;
    uv_close(reinterpret_cast<uv_handle_t*>(&handle), [](uv_handle_t* h) { delete static_cast<Connect*>(h->data); });
    call(std::move(outcome));
  }
};

class RealTransport final : public ProbeTransport {
 public:
  explicit RealTransport(UvLoop& loop) : loop_(loop) {
    http::ClientOptions options;
    options.insecure_skip_verify = true;
    auto client = http::Client::create(loop, options);
    if (client.ok()) client_ = *client;
  }

  void http(const Http& request, Duration timeout, std::function<void(Status)> done) override {
    if (!client_) return loop_.post([done] { done(Error{Code::kInternal, "no HTTP client"}); });
    http::ClientRequest r;
    r.url = request.url;
    r.headers.add("User-Agent", kUserAgent);
    for (const auto& [name, value] : request.headers) r.headers.set(name, value);
    r.deadline = std::chrono::duration_cast<std::chrono::milliseconds>(timeout);
    r.max_body_bytes = 10 * 1024;
    auto id = next_++;
    calls_[id] = client_->call(std::move(r), [this, id, done = std::move(done)](Result<http::Response> response) {
      loop_.post([this, id, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) calls_.erase(id);
      });
      if (!response.ok()) return done(response.error());
      if (response->status < 200 || response->status >= 400) {
        return done(Error{Code::kUnavailable, fmt::format("HTTP probe failed with statuscode: {}", response->status)});
      }
      done(Done{});
    });
  }

  void tcp(const std::string& host, uint16_t port, Duration timeout, std::function<void(Status)> done) override {
    sockaddr_in address{};
    if (uv_ip4_addr(host.c_str(), port, &address) != 0) {
      return loop_.post([done, host] { done(Error{Code::kInvalid, "not an address: " + host}); });
    }
    auto* c = new Connect;
    uv_tcp_init(loop_.raw(), &c->handle);
    c->handle.data = c;
    c->request.data = c;
    c->done = std::move(done);
    c->timeout = loop_.after(timeout, [c] { c->finish(Error{Code::kTimeout, "i/o timeout"}); });
    int failed = uv_tcp_connect(
        &c->request, &c->handle, reinterpret_cast<sockaddr*>(&address), [](uv_connect_t* request, int status) {
          auto* c = static_cast<Connect*>(request->data);
          c->finish(status == 0 ? Status(Done{}) : Error{Code::kUnavailable, uv_strerror(status)});
        });
    if (failed != 0) loop_.post([c, failed] { c->finish(Error{Code::kUnavailable, uv_strerror(failed)}); });
  }

 private:
  UvLoop& loop_;
  std::shared_ptr<http::Client> client_;
  std::map<uint64_t, std::shared_ptr<http::Call>> calls_;
  uint64_t next_ = 1;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

class HollowTransport final : public ProbeTransport {
 public:
  explicit HollowTransport(Loop& loop) : loop_(loop) {}
  void http(const Http&, Duration, std::function<void(Status)> done) override { healthy(std::move(done)); }
  void tcp(const std::string&, uint16_t, Duration, std::function<void(Status)> done) override {
    healthy(std::move(done));
  }

 private:
  void healthy(std::function<void(Status)> done) {
    loop_.post([done = std::move(done)] { done(Done{}); });
  }
  Loop& loop_;
};

}  // namespace

std::unique_ptr<ProbeTransport> make_probe_transport(UvLoop& loop) { return std::make_unique<RealTransport>(loop); }
std::unique_ptr<ProbeTransport> make_hollow_transport(Loop& loop) { return std::make_unique<HollowTransport>(loop); }

}  // namespace gantry::nodeagent
