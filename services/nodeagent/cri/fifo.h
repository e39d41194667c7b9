// One end of a FIFO on the loop.
#pragma once

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>
#include <uv.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>

#include "libs/base/uv_loop.h"

namespace gantry::nodeagent {

/// Loop's thread only; `data` finds the owner in libuv's callbacks and is null once closed.
struct Pipe {
  uv_pipe_t* handle = nullptr;
  std::array<char, 64 * 1024> buffer;
  bool reading = false, ended = false;

  int open(UvLoop& loop, int fd, void* data) {
    handle = new uv_pipe_t;
    uv_pipe_init(loop.raw(), handle, 0);
    handle->data = data;
    return uv_pipe_open(handle, fd);
  }
  /// Succeeds before there is a writer; the end comes when the last writer has gone.
  Status open_for_reading(UvLoop& loop, const std::string& path, void* data) {
    int fd = ::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) return Error{Code::kInternal, fmt::format("opening {}: {}", path, strerror(errno))};
    if (int failed = open(loop, fd, data); failed != 0) {
      ::close(fd);
      return Error{Code::kInternal, fmt::format("opening {}: {}", path, uv_strerror(failed))};
    }
    return Done{};
  }
  void close() {
    if (handle == nullptr) return;
    handle->data = nullptr;
    uv_close(reinterpret_cast<uv_handle_t*>(handle), [](uv_handle_t* h) { delete reinterpret_cast<uv_pipe_t*>(h); });
    handle = nullptr;
  }
};

}  // namespace gantry::nodeagent
