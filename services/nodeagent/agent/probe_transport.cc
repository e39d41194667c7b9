#include "services/nodeagent/agent/probe_transport.h"

#include <arpa/inet.h>

#include "libs/http/client.h"
#include "libs/http/dial.h"
#include "services/nodeagent/agent/grpc_probe.h"

namespace gantry::nodeagent {

namespace {

constexpr char kUserAgent[] = "kube-probe/1.34";
constexpr int kMostRedirects = 10;

struct Url {
  std::string scheme, authority, path;  // the path with its query
  std::string host() const {
    if (authority.starts_with('[')) return authority.substr(0, authority.find(']') + 1);
    return authority.substr(0, authority.find(':'));
  }
};
Url split(const std::string& url) {
  const auto scheme = url.find("://"), rest = scheme + 3;
  if (scheme == std::string::npos) return {};
  const auto path = std::min(url.find_first_of("/?#", rest), url.size());
  const auto end = std::min(url.find('#', path), url.size());
  return {url.substr(0, scheme), url.substr(rest, path - rest), url.substr(path, end - path)};
}

// Where the answer of `url` sends a probe of `first`; empty: nowhere, or to another host.
std::string redirect(const http::Response& response, const std::string& url, const std::string& first) {
  constexpr int kRedirects[] = {301, 302, 303, 307, 308};
  std::string to(response.headers.get("location"));
  if (to.empty() || std::find(std::begin(kRedirects), std::end(kRedirects), response.status) == std::end(kRedirects))
    return {};
  const auto from = split(url);
  const auto origin = fmt::format("{}://{}", from.scheme, from.authority);
  if (to.starts_with("//")) {
    to = from.scheme + ":" + to;
  } else if (to.starts_with('/')) {
    to = origin + to;
  } else if (to.find("://") == std::string::npos) {
    const auto path = from.path.substr(0, from.path.find('?'));
    to = origin + (path.empty() ? "/" : path.substr(0, path.rfind('/') + 1)) + to;
  }
  const auto next = split(to);
  if ((next.scheme != "http" && next.scheme != "https") || next.host() != split(first).host()) return {};
  return fmt::format("{}://{}{}", next.scheme, next.authority, next.path.empty() ? "/" : next.path);
}

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
    follow(request, request.url, 0, loop_.now() + timeout, std::move(done));
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
  // As kubelets do: redirects to the same host are followed, one to elsewhere is an answer like any other.
  void follow(const Http& request, const std::string& url, int redirects, Duration until,
              std::function<void(Status)> done) {
    http::ClientRequest r;
    r.url = url;
    r.headers.add("User-Agent", kUserAgent);
    r.headers.add("Accept", "*/*");
    std::set<std::string> own;
    for (const auto& [name, value] : request.headers) {
      // The first of a name replaces ours, the others stand beside it.
      own.insert(name).second ? r.headers.set(name, value) : r.headers.add(name, value);
    }
    r.deadline = std::max(std::chrono::milliseconds(1),
                          std::chrono::duration_cast<std::chrono::milliseconds>(until - loop_.now()));
    r.max_body_bytes = 10 * 1024;
    auto id = next_++;
    calls_[id] = client_->call(std::move(r), [this, id, request, url, redirects, until,
                                              done = std::move(done)](Result<http::Response> response) mutable {
      loop_.post([this, id, alive = std::weak_ptr<bool>(alive_)] {
        if (!alive.expired()) calls_.erase(id);
      });
      if (!response.ok()) return done(response.error());
      if (const auto next = redirect(*response, url, request.url); !next.empty()) {
        if (redirects == kMostRedirects) return done(Error{Code::kUnavailable, "stopped after 10 redirects"});
        return follow(request, next, redirects + 1, until, std::move(done));
      }
      if (request.any_status) return done(Done{});
      if (response->status < 200 || response->status >= 400) {
        return done(Error{Code::kUnavailable, fmt::format("HTTP probe failed with statuscode: {}", response->status)});
      }
      done(Done{});
    });
  }

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
