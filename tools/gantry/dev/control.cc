#include "tools/gantry/dev/control.h"

#include <fmt/format.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>

#include "tools/gantry/dev/files.h"

namespace gantry::dev {
namespace {

constexpr size_t kLongestRequest = 64 * 1024;

}  // namespace

/// Lives from accept to close; counted by the answers that are still to come.
struct ControlServer::Connection : std::enable_shared_from_this<Connection> {
  uv_pipe_t pipe{};
  std::string input;
  std::shared_ptr<ControlHandler> handler;
  std::shared_ptr<Connection> self;  // until closed

  void read() {
    uv_read_start(
        reinterpret_cast<uv_stream_t*>(&pipe),
        [](uv_handle_t*, size_t, uv_buf_t* buffer) {
          static char space[4096];
          *buffer = uv_buf_init(space, sizeof space);
        },
        [](uv_stream_t* stream, ssize_t n, const uv_buf_t* buffer) {
          auto* connection = static_cast<Connection*>(stream->data);
          if (n < 0 || connection->input.size() > kLongestRequest) return connection->close();
          connection->input.append(buffer->base, static_cast<size_t>(n));
          if (connection->input.find('\n') != std::string::npos) connection->handle();
        });
  }

  void handle() {
    uv_read_stop(reinterpret_cast<uv_stream_t*>(&pipe));
    const auto request = nlohmann::json::parse(input, nullptr, false);
    auto answer = [connection = shared_from_this()](const nlohmann::json& reply) {
      connection->write(reply.dump() + "\n");
    };
    if (!request.is_object()) return answer({{"error", "not a JSON object"}});
    (*handler)(request, answer);
  }

  void write(std::string reply) {
    if (uv_is_closing(reinterpret_cast<uv_handle_t*>(&pipe))) return;
    struct Write {
      uv_write_t request;
      std::string data;
    };
    auto* write = new Write{.request = {}, .data = std::move(reply)};
    write->request.data = write;
    uv_buf_t buffer = uv_buf_init(write->data.data(), static_cast<unsigned>(write->data.size()));
    uv_write(&write->request, reinterpret_cast<uv_stream_t*>(&pipe), &buffer, 1, [](uv_write_t* request, int) {
      static_cast<Connection*>(request->handle->data)->close();
      delete static_cast<Write*>(request->data);
    });
  }

  void close() {
    if (uv_is_closing(reinterpret_cast<uv_handle_t*>(&pipe))) return;
    uv_close(reinterpret_cast<uv_handle_t*>(&pipe),
             [](uv_handle_t* handle) { static_cast<Connection*>(handle->data)->self.reset(); });
  }
};

Result<std::unique_ptr<ControlServer>> ControlServer::listen(UvLoop& loop, const Paths& paths, ControlHandler handler) {
  const std::string path = paths.control_socket();
  std::unique_ptr<ControlServer> server(new ControlServer);
  server->handler_ = std::make_shared<ControlHandler>(std::move(handler));
  server->pipe_ = new uv_pipe_t;
  uv_pipe_init(loop.raw(), server->pipe_, 0);
  server->pipe_->data = server.get();
  ::unlink(path.c_str());
  int error = uv_pipe_bind(server->pipe_, path.c_str());
  if (error == 0) {
    error = uv_listen(reinterpret_cast<uv_stream_t*>(server->pipe_), 16, [](uv_stream_t* stream, int status) {
      if (status < 0) return;
      auto connection = std::make_shared<Connection>();
      connection->self = connection;
      connection->handler = static_cast<ControlServer*>(stream->data)->handler_;
      uv_pipe_init(stream->loop, &connection->pipe, 0);
      connection->pipe.data = connection.get();
      if (uv_accept(stream, reinterpret_cast<uv_stream_t*>(&connection->pipe)) != 0) return connection->close();
      connection->read();
    });
  }
  if (error != 0)
    return Error{.code = Code::kInternal, .message = fmt::format("listen on {}: {}", path, uv_strerror(error))};
  return server;
}

ControlServer::~ControlServer() {
  if (pipe_ == nullptr) return;
  uv_close(reinterpret_cast<uv_handle_t*>(pipe_),
           [](uv_handle_t* handle) { delete reinterpret_cast<uv_pipe_t*>(handle); });
}

Result<nlohmann::json> control(const Paths& paths, const nlohmann::json& request, int timeout_seconds) {
  const std::string path = paths.control_socket();
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof address.sun_path) {
    return Error{.code = Code::kInvalid,
                 .message = fmt::format("{} is too long for a socket: use a shorter --dir", path)};
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval timeout{.tv_sec = timeout_seconds, .tv_usec = 0};
  ::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
  if (::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    ::close(fd);
    return Error{.code = Code::kUnavailable,
                 .message = "the cluster is down (no supervisor runs): `gantry dev up` starts it"};
  }
  const std::string line = request.dump() + "\n";
  std::string reply;
  if (::send(fd, line.data(), line.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(line.size())) {
    char buffer[4096];
    for (ssize_t n; reply.find('\n') == std::string::npos && (n = ::recv(fd, buffer, sizeof buffer, 0)) > 0;) {
      reply.append(buffer, static_cast<size_t>(n));
    }
  }
  ::close(fd);
  auto json = nlohmann::json::parse(reply, nullptr, false);
  if (!json.is_object()) return Error{.code = Code::kTimeout, .message = "the supervisor does not answer"};
  if (json.contains("error")) return Error{.code = Code::kInvalid, .message = json["error"].get<std::string>()};
  return json;
}

}  // namespace gantry::dev
