#include "services/nodeagent/agent/probe_transport.h"

#include <arpa/inet.h>

#include "libs/http/client.h"
#include "libs/http/dial.h"
#include "services/nodeagent/agent/grpc_probe.h"

namespace gantry::nodeagent {

namespace {

constexpr char kUserAgent[] = "kube-probe/1.34";

// One name to look up; deletes itself when that is done.
struct Lookup {
  uv_getaddrinfo_t request;
  std::function<void(Result<std::string>)> done;
};

std::string ip_of(const sockaddr* address) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  uv_ip_name(address, text.data(), text.size());
  return text.data();
}

std::string with_port(const std::string& ip, uint16_t port) {
  return ip.find(':') == std::string::npos ? fmt::format("{}:{}", ip, port) : fmt::format("[{}]:{}", ip, port);
}

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
    r.headers.add("Accept", "*/*");
    std::set<std::string> own;
    for (const auto& [name, value] : request.headers) {
      // The first of a name replaces ours, the others stand beside it.
      own.insert(name).second ? r.headers.set(name, value) : r.headers.add(name, value);
    }
    r.deadline = std::chrono::duration_cast<std::chrono::milliseconds>(timeout);
    r.max_body_bytes = 10 * 1024;
    auto id = next_++;
    calls_[id] = client_->call(std::move(r), [this, id, any_status = request.any_status,
                                              done = std::move(done)](Result<http::Response> response) {
      loop_.post([this, id, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) calls_.erase(id);
      });
      if (!response.ok()) return done(response.error());
      if (any_status) return done(Done{});
      if (response->status < 200 || response->status >= 400) {
        return done(Error{Code::kUnavailable, fmt::format("HTTP probe failed with statuscode: {}", response->status)});
      }
      done(Done{});
    });
  }

  void tcp(const std::string& host, uint16_t port, Duration timeout, std::function<void(Status)> done) override {
    resolve(host, [this, port, timeout, done = std::move(done), began = loop_.now()](Result<std::string> ip) {
      if (!ip.ok()) return done(ip.error());
      http::DialOptions options;
      options.address = with_port(*ip, port);
      options.timeout = std::chrono::duration_cast<std::chrono::milliseconds>(
          std::max(Duration::zero(), timeout - (loop_.now() - began)));
      http::dial(loop_, options, [done](Result<std::shared_ptr<http::Stream>> stream) {
        done(stream.ok() ? Status(Done{}) : stream.error());
      });
    });
  }

  void grpc(const std::string& host, uint16_t port, const std::string& service, Duration timeout,
            std::function<void(Status)> done) override {
    probe_grpc(loop_, with_port(host, port), service, timeout, std::move(done));
  }

 private:
  void resolve(const std::string& host, std::function<void(Result<std::string>)> done) {
    std::array<unsigned char, 16> ignored{};
    if (uv_inet_pton(AF_INET, host.c_str(), ignored.data()) == 0 ||
        uv_inet_pton(AF_INET6, host.c_str(), ignored.data()) == 0)
      return done(host);
    auto* lookup = new Lookup{{}, std::move(done)};
    lookup->request.data = lookup;
    int failed = uv_getaddrinfo(
        loop_.raw(), &lookup->request,
        [](uv_getaddrinfo_t* request, int status, addrinfo* found) {
          std::unique_ptr<Lookup> lookup(static_cast<Lookup*>(request->data));
          Result<std::string> result =
              Error{Code::kUnavailable, fmt::format("dial tcp: lookup: {}", status == 0 ? "" : uv_strerror(status))};
          if (status == 0 && found != nullptr) result = ip_of(found->ai_addr);
          uv_freeaddrinfo(found);
          lookup->done(std::move(result));
        },
        host.c_str(), nullptr, nullptr);
    if (failed == 0) return;
    loop_.post([lookup, failed] {
      std::unique_ptr<Lookup> owned(lookup);
      owned->done(Error{Code::kInvalid, uv_strerror(failed)});
    });
  }

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
  void grpc(const std::string&, uint16_t, const std::string&, Duration, std::function<void(Status)> done) override {
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
