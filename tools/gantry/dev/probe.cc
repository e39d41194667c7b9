#include "tools/gantry/dev/probe.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "tools/gantry/dev/files.h"

namespace gantry::dev {
namespace {

/// The calling thread is in another network namespace as long as this lives.
class InNamespace {
 public:
  explicit InNamespace(const std::string& file) {
    if (file.empty()) return;
    own_ = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    const int other = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    ok_ = own_ >= 0 && other >= 0 && ::setns(other, CLONE_NEWNET) == 0;
    if (other >= 0) ::close(other);
  }
  InNamespace(const InNamespace&) = delete;
  InNamespace& operator=(const InNamespace&) = delete;
  ~InNamespace() {
    if (own_ < 0) return;
    if (ok_) PCHECK(::setns(own_, CLONE_NEWNET) == 0);
    ::close(own_);
  }
  bool ok() const { return ok_; }

 private:
  int own_ = -1;
  bool ok_ = true;
};

class Socket {
 public:
  explicit Socket(int family) : fd_(::socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    timeval second{.tv_sec = 1, .tv_usec = 0};
    ::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &second, sizeof second);
    ::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &second, sizeof second);
  }
  Socket(const Socket&) = delete;
  Socket& operator=(const Socket&) = delete;
  ~Socket() { ::close(fd_); }

  bool connect_unix(const std::string& path) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return false;
    std::memcpy(address.sun_path, path.data(), path.size());
    return ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  bool connect_local(int port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return ::connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0;
  }
  bool send_all(const std::string& data) {
    return ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(data.size());
  }
  std::string receive() {
    char buffer[512];
    const ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
    return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
  }

 private:
  int fd_;
};

Error unavailable(std::string message) { return {.code = Code::kUnavailable, .message = std::move(message)}; }

Status ask_redis(const Probe& probe) {
  Socket socket(AF_UNIX);
  if (!socket.connect_unix(probe.socket)) return unavailable("no answer on " + probe.socket);
  if (!socket.send_all(fmt::format("AUTH {} {}\r\n", probe.user, probe.password)))
    return unavailable("connection lost");
  if (const auto reply = socket.receive(); reply != "+OK\r\n") return unavailable("AUTH: " + reply);
  if (!socket.send_all("PING\r\n")) return unavailable("connection lost");
  const auto reply = socket.receive();
  if (reply != "+PONG\r\n") return unavailable("PING: " + reply);
  return Done{};
}

Status ask_http(const Probe& probe) {
  const InNamespace inside(probe.network_namespace);
  if (!inside.ok()) return unavailable("no network namespace " + probe.network_namespace);
  Socket socket(AF_INET);
  if (!socket.connect_local(probe.port)) return unavailable(fmt::format("nothing listens on port {}", probe.port));
  if (!socket.send_all(fmt::format("GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", probe.path))) {
    return unavailable("connection lost");
  }
  const auto reply = socket.receive();
  if (reply.size() < 12 || reply.substr(9, 3) != "200") {
    return unavailable(fmt::format("{}: {}", probe.path, reply.substr(0, reply.find('\r'))));
  }
  return Done{};
}

}  // namespace

Status ask(const Probe& probe) {
  switch (probe.kind) {
    case Probe::Kind::kNone:
      return Done{};
    case Probe::Kind::kSocket: {
      Socket socket(AF_UNIX);
      if (!socket.connect_unix(probe.socket)) return unavailable("no answer on " + probe.socket);
      return Done{};
    }
    case Probe::Kind::kRedis:
      return ask_redis(probe);
    case Probe::Kind::kHttp:
      return ask_http(probe);
  }
  return Done{};
}

}  // namespace gantry::dev
