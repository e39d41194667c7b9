#include "libs/base/uv_loop.h"

#include <glog/logging.h>

#include <csignal>

namespace gantry {

struct UvLoop::UvTimer {
  uv_timer_t handle;
  UvLoop* loop;
  uint64_t id;
  bool repeats;
  std::function<void()> callback;
};

namespace {

// libuv and hiredis write without MSG_NOSIGNAL: a peer that has gone must be an error of a write, not the end of the
// process.
void ignore_sigpipe() {
  struct sigaction current {};
  if (sigaction(SIGPIPE, nullptr, &current) == 0 && current.sa_handler == SIG_DFL) signal(SIGPIPE, SIG_IGN);
}

}  // namespace

UvLoop::UvLoop() {
  ignore_sigpipe();
  CHECK_EQ(uv_loop_init(&loop_), 0);
  wake_.data = this;
  CHECK_EQ(uv_async_init(&loop_, &wake_, [](uv_async_t* handle) { static_cast<UvLoop*>(handle->data)->drain(); }), 0);
}

UvLoop::~UvLoop() {
  while (!timers_.empty()) cancel_timer(timers_.begin()->first);
  uv_close(reinterpret_cast<uv_handle_t*>(&wake_), nullptr);
  uv_run(&loop_, UV_RUN_DEFAULT);
  CHECK_EQ(uv_loop_close(&loop_), 0) << "a handle outlives its loop";
}

Duration UvLoop::now() const { return std::chrono::duration_cast<Duration>(std::chrono::nanoseconds(uv_hrtime())); }

WallMicros UvLoop::wall() const {
  return std::chrono::duration_cast<Duration>(std::chrono::system_clock::now().time_since_epoch()).count();
}

void UvLoop::post(std::function<void()> callback) {
  {
    std::lock_guard lock(mutex_);
    posted_.push_back(std::move(callback));
  }
  uv_async_send(&wake_);
}

void UvLoop::drain() {
  std::vector<std::function<void()>> batch;
  {
    std::lock_guard lock(mutex_);
    batch.swap(posted_);
  }
  for (auto& callback : batch) callback();
  if (stopping_) uv_stop(&loop_);
}

void UvLoop::run() {
  stopping_ = false;
  uv_run(&loop_, UV_RUN_DEFAULT);
}

void UvLoop::run_once(bool wait) { uv_run(&loop_, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT); }

void UvLoop::stop() {
  stopping_ = true;
  uv_async_send(&wake_);
}

uint64_t UvLoop::start_timer(Duration delay, Duration period, std::function<void()> callback) {
  auto* timer = new UvTimer{{}, this, next_timer_++, period > Duration::zero(), std::move(callback)};
  timer->handle.data = timer;
  timers_[timer->id] = timer;
  uv_timer_init(&loop_, &timer->handle);
  uv_update_time(&loop_);
  auto millis = [](Duration d) { return static_cast<uint64_t>(std::max<int64_t>(0, (d.count() + 999) / 1000)); };
  uv_timer_start(
      &timer->handle,
      [](uv_timer_t* handle) {
        auto* timer = static_cast<UvTimer*>(handle->data);
        if (timer->repeats) {
          auto callback = timer->callback;  // the callback may cancel its own timer
          callback();
        } else {
          auto callback = std::move(timer->callback);
          timer->loop->cancel_timer(timer->id);
          callback();
        }
      },
      millis(delay), millis(period));
  return timer->id;
}

void UvLoop::cancel_timer(uint64_t id) {
  auto it = timers_.find(id);
  if (it == timers_.end()) return;
  auto* timer = it->second;
  timers_.erase(it);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer->handle),
           [](uv_handle_t* handle) { delete static_cast<UvTimer*>(handle->data); });
}

}  // namespace gantry
