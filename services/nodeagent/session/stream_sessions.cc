#include "services/nodeagent/session/stream_sessions.h"

#include <nlohmann/json.hpp>

namespace gantry::nodeagent {

Process::Callbacks ExecSession::process_callbacks() {
  Process::Callbacks callbacks;
  callbacks.output = [this](bool is_stderr, std::string_view data) {
    if (done_) return;
    if (!session_) {
      early_.emplace_back(is_stderr, data);
      return;
    }
    if (!session_->write(is_stderr ? node::Channel::Stderr : node::Channel::Stdout, data) && process_)
      process_->read(false);
  };
  callbacks.output_end = [this](bool is_stderr) {
    if (session_ && !done_) session_->end(is_stderr ? node::Channel::Stderr : node::Channel::Stdout);
  };
  callbacks.exited = [this](Result<int> code) {
    bus::SessionEnd end;
    if (code.ok()) {
      end.exit_code = *code;
    } else {
      end.error = code.error().message;
    }
    close(std::move(end));
  };
  callbacks.drained = [this] {
    if (session_ && owed_ > 0) session_->consume(std::exchange(owed_, 0));
  };
  return callbacks;
}

bus::Session::Callbacks ExecSession::session_callbacks() {
  bus::Session::Callbacks callbacks;
  callbacks.data = [this](node::Channel channel, std::string_view data, bool end) { to_process(channel, data, end); };
  callbacks.closed = [this](const bus::SessionEnd&) {
    done_ = true;
    finished_();
  };
  callbacks.writable = [this] {
    if (process_ && !done_) process_->read(true);
  };
  return callbacks;
}

void ExecSession::start(std::unique_ptr<Process> process, std::unique_ptr<bus::Session> session) {
  process_ = std::move(process);
  session_ = std::move(session);
  for (auto& [is_stderr, data] : std::exchange(early_, {})) {
    session_->write(is_stderr ? node::Channel::Stderr : node::Channel::Stdout, data);
  }
  if (early_end_) close(*std::exchange(early_end_, std::nullopt));
}

void ExecSession::to_process(node::Channel channel, std::string_view data, bool end) {
  if (done_ || !process_) {
    if (session_) session_->consume(data.size());
    return;
  }
  if (channel == node::Channel::Resize) {
    session_->consume(data.size());
    auto size = nlohmann::json::parse(data, nullptr, false);
    auto side = [&](const char* name) -> uint16_t {
      auto found = size.is_object() ? size.find(name) : size.end();
      bool usable = size.is_object() && found != size.end() && found->is_number_unsigned();
      return usable && found->get<uint64_t>() <= 65535 ? found->get<uint16_t>() : 0;
    };
    if (side("Width") > 0 && side("Height") > 0) process_->resize(side("Width"), side("Height"));
    return;
  }
  if (channel == node::Channel::Stdin) {
    if (!data.empty()) {
      bool more = process_->write(data);
      owed_ += data.size();
      if (more) session_->consume(std::exchange(owed_, 0));
    }
    if (end) process_->close_stdin();
  }
}

void ExecSession::close(bus::SessionEnd end) {
  if (done_) return;
  if (!session_) {
    early_end_ = std::move(end);
    return;
  }
  done_ = true;
  session_->close(std::move(end));
}

DialSession::DialSession(std::shared_ptr<http::Stream> stream, std::function<void()> finished)
    : finished_(std::move(finished)), stream_(std::move(stream)) {}

bus::Session::Callbacks DialSession::session_callbacks() {
  bus::Session::Callbacks callbacks;
  callbacks.data = [this](node::Channel, std::string_view data, bool) {
    if (done_) return;
    stream_->write(data);
    owed_ += data.size();
    if (stream_->buffered() < http::kHighWater) return session_->consume(std::exchange(owed_, 0));
    stream_->on_drained([this] { session_->consume(std::exchange(owed_, 0)); });
  };
  callbacks.closed = [this](const bus::SessionEnd&) {
    done_ = true;
    finished_();
  };
  callbacks.writable = [this] {
    if (!done_) stream_->resume();
  };
  return callbacks;
}

void DialSession::start(std::unique_ptr<bus::Session> session) {
  session_ = std::move(session);
  stream_->on_close([this] {
    if (!std::exchange(done_, true)) session_->close({});
  });
  stream_->on_data([this](std::string_view data) {
    if (!done_ && !session_->write(node::Channel::Stdout, data)) stream_->pause();
  });
}

struct PortSession::Socket {
  uv_tcp_t handle;
  PortSession* owner;
  std::array<char, 64 * 1024> buffer;
  bool reading = false, ended = false;

  uv_stream_t* stream() { return reinterpret_cast<uv_stream_t*>(&handle); }
};

PortSession::PortSession(UvLoop& loop, int fd, std::function<void()> finished)
    : finished_(std::move(finished)), socket_(new Socket{}) {
  socket_->owner = this;
  uv_tcp_init(loop.raw(), &socket_->handle);
  socket_->handle.data = socket_;
  uv_tcp_open(&socket_->handle, fd);
}

PortSession::~PortSession() {
  socket_->owner = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&socket_->handle),
           [](uv_handle_t* h) { delete static_cast<Socket*>(h->data); });
}

bus::Session::Callbacks PortSession::session_callbacks() {
  bus::Session::Callbacks callbacks;
  callbacks.data = [this](node::Channel, std::string_view data, bool end) { to_socket(data, end); };
  callbacks.closed = [this](const bus::SessionEnd&) {
    done_ = true;
    finished_();
  };
  callbacks.writable = [this] {
    if (!done_) read(true);
  };
  return callbacks;
}

void PortSession::start(std::unique_ptr<bus::Session> session) {
  session_ = std::move(session);
  read(true);
}

void PortSession::read(bool on) {
  if (on == socket_->reading || socket_->ended) return;
  socket_->reading = on;
  if (!on) {
    uv_read_stop(socket_->stream());
    return;
  }
  uv_read_start(
      socket_->stream(),
      [](uv_handle_t* handle, size_t, uv_buf_t* buffer) {
        auto* socket = static_cast<Socket*>(handle->data);
        *buffer = uv_buf_init(socket->buffer.data(), socket->buffer.size());
      },
      [](uv_stream_t* stream, ssize_t size, const uv_buf_t* buffer) {
        auto* socket = static_cast<Socket*>(stream->data);
        auto* self = socket->owner;
        if (self == nullptr || size == 0) return;
        if (size < 0) {
          socket->ended = true;
          uv_read_stop(stream);
          if (size != UV_EOF) return self->close(uv_strerror(static_cast<int>(size)));
          self->session_->end(node::Channel::Stdout);
          return self->close_if_ended();
        }
        if (!self->session_->write(node::Channel::Stdout, {buffer->base, static_cast<size_t>(size)})) self->read(false);
      });
}

void PortSession::to_socket(std::string_view data, bool end) {
  if (done_) return;
  struct Write {
    uv_write_t request;
    std::string data;
    Socket* socket;
  };
  if (!data.empty()) {
    auto* write = new Write{{}, std::string(data), socket_};
    write->request.data = write;
    auto buffer = uv_buf_init(write->data.data(), static_cast<unsigned>(write->data.size()));
    int failed = uv_write(&write->request, socket_->stream(), &buffer, 1, [](uv_write_t* request, int status) {
      std::unique_ptr<Write> write(static_cast<Write*>(request->data));
      auto* self = write->socket->owner;
      if (self == nullptr || self->done_) return;
      if (status != 0) return self->close(uv_strerror(status));
      self->session_->consume(write->data.size());
    });
    if (failed != 0) {
      delete write;
      return close(uv_strerror(failed));
    }
  }
  if (end) {
    // After what is still being written.
    auto* shutdown = new uv_shutdown_t;
    shutdown->data = socket_;
    int failed = uv_shutdown(shutdown, socket_->stream(), [](uv_shutdown_t* request, int) {
      auto* self = static_cast<Socket*>(request->data)->owner;
      delete request;
      if (self == nullptr) return;
      self->input_ended_ = true;
      self->close_if_ended();
    });
    if (failed != 0) {
      delete shutdown;
      input_ended_ = true;
      close_if_ended();
    }
  }
}

void PortSession::close_if_ended() {
  if (socket_->ended && input_ended_) close("");
}

void PortSession::close(const std::string& error) {
  if (std::exchange(done_, true)) return;
  bus::SessionEnd end;
  end.error = error;
  session_->close(std::move(end));
}

}  // namespace gantry::nodeagent
