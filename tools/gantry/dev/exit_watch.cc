#include "tools/gantry/dev/exit_watch.h"

#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace gantry::dev {

/// Freed by libuv's close callback.
struct ExitWatch::Watched {
  uv_poll_t poll{};
  int fd = -1;
  pid_t pid = 0;
  std::function<void()> ended;
};

ExitWatch::ExitWatch(UvLoop& loop, const ProcessId& process, std::function<void()> ended) : watched_(new Watched) {
  watched_->pid = process.pid;
  watched_->ended = std::move(ended);
  watched_->fd = static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0));
  watched_->poll.data = watched_;
  if (watched_->fd < 0) {
    // Gone already. A pipe whose other end is closed is readable at once, as the pidfd would be.
    int ends[2];
    PCHECK(::pipe2(ends, O_CLOEXEC) == 0);
    ::close(ends[1]);
    watched_->fd = ends[0];
  }
  uv_poll_init(loop.raw(), &watched_->poll, watched_->fd);
  uv_poll_start(&watched_->poll, UV_READABLE | UV_DISCONNECT, [](uv_poll_t* poll, int, int) {
    auto* watched = static_cast<Watched*>(poll->data);
    uv_poll_stop(poll);
    ::waitpid(watched->pid, nullptr, WNOHANG);  // if it was a child of ours
    auto ended = std::move(watched->ended);
    if (ended) ended();
  });
}

ExitWatch::~ExitWatch() {
  watched_->ended = nullptr;
  uv_close(reinterpret_cast<uv_handle_t*>(&watched_->poll), [](uv_handle_t* handle) {
    auto* watched = static_cast<Watched*>(handle->data);
    ::close(watched->fd);
    delete watched;
  });
}

}  // namespace gantry::dev
