#include "services/nodeagent/cri/netns.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace gantry::nodeagent {

namespace {

Result<int> connect_socket(const sockaddr* address, socklen_t length, int timeout_millis) {
  int fd = socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return Error{Code::kInternal, fmt::format("socket: {}", strerror(errno))};
  int error = 0;
  if (connect(fd, address, length) != 0) {
    error = errno;
    if (error == EINPROGRESS) {
      pollfd waiting{fd, POLLOUT, 0};
      if (poll(&waiting, 1, timeout_millis) == 0) {
        error = ETIMEDOUT;
      } else {
        socklen_t size = sizeof error;
        getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
      }
    }
  }
  if (error == 0) return fd;
  close(fd);
  return Error{Code::kUnavailable, strerror(error)};
}

}  // namespace

Result<int> connect_in_netns(const std::string& path, uint16_t port, int timeout_millis) {
  if (!path.empty()) {
    int ns = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (ns < 0) return Error{Code::kNotFound, fmt::format("network namespace {}: {}", path, strerror(errno))};
    int entered = setns(ns, CLONE_NEWNET);
    int error = errno;
    close(ns);
    if (entered != 0) return Error{Code::kInternal, fmt::format("entering {}: {}", path, strerror(error))};
  }
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  v4.sin_port = htons(port);
  v4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  auto first = connect_socket(reinterpret_cast<sockaddr*>(&v4), sizeof v4, timeout_millis);
  if (first.ok()) return first;
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  v6.sin6_port = htons(port);
  v6.sin6_addr = in6addr_loopback;
  auto second = connect_socket(reinterpret_cast<sockaddr*>(&v6), sizeof v6, timeout_millis);
  if (second.ok()) return second;
  return Error{Code::kUnavailable, fmt::format("connecting to port {} in the pod: {}", port, first.error().message)};
}

}  // namespace gantry::nodeagent
