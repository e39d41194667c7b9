#include "tools/gantry/client/streams.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace gantry::client {

struct Reader::State {
  int fd = -1, wake = -1;
  std::atomic<bool> wanted = true, stop = false;
  std::function<void(std::string_view)> data;
  bool gone = false;  // the loop's thread only
  std::thread thread;

  /// The next piece; empty at the end or on an error. Nothing once stopped.
  std::optional<std::string> read_one() {
    std::string piece(64 << 10, '\0');
    for (;;) {
      pollfd waits[2] = {{wake, POLLIN, 0}, {fd, POLLIN, 0}};
      if (poll(waits, wanted ? 2 : 1, -1) < 0 && errno != EINTR) return std::nullopt;
      if (stop) return std::nullopt;
      if (waits[0].revents != 0) {
        uint64_t count = 0;
        (void)!::read(wake, &count, sizeof count);
        continue;
      }
      if (!wanted || waits[1].revents == 0) continue;
      const ssize_t got = ::read(fd, piece.data(), piece.size());
      if (got < 0 && (errno == EINTR || errno == EAGAIN)) continue;
      piece.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
      return piece;
    }
  }
};

Reader::Reader(Loop& loop, int fd, std::function<void(std::string_view)> data) : state_(std::make_shared<State>()) {
  state_->fd = fd;
  state_->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  state_->data = std::move(data);
  state_->thread = std::thread([&loop, state = state_.get(), weak = std::weak_ptr(state_)] {
    for (bool end = false; !end;) {
      auto piece = state->read_one();
      if (!piece) return;
      end = piece->empty();
      state->wanted = false;
      loop.post([weak, piece = std::move(*piece)] {
        auto alive = weak.lock();
        if (alive && !alive->gone) alive->data(piece);
      });
    }
  });
}

Reader::~Reader() {
  state_->gone = true;
  state_->stop = true;
  (void)!eventfd_write(state_->wake, 1);
  state_->thread.join();
  close(state_->wake);
}

void Reader::next() {
  state_->wanted = true;
  (void)!eventfd_write(state_->wake, 1);
}

struct Writer::State {
  std::mutex mutex;  // guards queue and stop
  std::condition_variable changed;
  std::string queue;
  bool stop = false;
  // The loop's thread only.
  std::function<void(size_t)> written;
  std::function<void()> failed;
  size_t pending = 0;
  bool gone = false;
  std::thread thread;

  /// What waits to be written; nothing once stopped.
  std::optional<std::string> take() {
    std::unique_lock lock(mutex);
    changed.wait(lock, [this] { return stop || !queue.empty(); });
    if (stop) return std::nullopt;
    return std::exchange(queue, {});
  }
};

namespace {

bool write_all(int fd, std::string_view data) {
  while (!data.empty()) {
    const ssize_t put = ::write(fd, data.data(), data.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0 && errno == EAGAIN) {  // somebody else made the terminal non-blocking
      pollfd wait{fd, POLLOUT, 0};
      (void)poll(&wait, 1, -1);
      continue;
    }
    if (put < 0) return false;
    data.remove_prefix(static_cast<size_t>(put));
  }
  return true;
}

}  // namespace

Writer::Writer(Loop& loop, int fd, std::function<void(size_t)> written, std::function<void()> failed)
    : state_(std::make_shared<State>()) {
  state_->written = std::move(written);
  state_->failed = std::move(failed);
  state_->thread = std::thread([&loop, fd, state = state_.get(), weak = std::weak_ptr(state_)] {
    while (auto data = state->take()) {
      const bool ok = write_all(fd, *data);
      loop.post([weak, ok, size = data->size()] {
        auto alive = weak.lock();
        if (!alive || alive->gone) return;
        alive->pending -= size;
        if (ok) return alive->written(size);
        alive->failed();
      });
      if (!ok) return;
    }
  });
}

Writer::~Writer() {
  state_->gone = true;
  {
    std::lock_guard lock(state_->mutex);
    state_->stop = true;
  }
  state_->changed.notify_one();
  state_->thread.join();
}

void Writer::write(std::string_view data) {
  state_->pending += data.size();
  {
    std::lock_guard lock(state_->mutex);
    state_->queue += data;
  }
  state_->changed.notify_one();
}

size_t Writer::pending() const { return state_->pending; }

}  // namespace gantry::client
