// Loop on libuv.
#pragma once

#include <uv.h>

#include <atomic>
#include <mutex>
#include <unordered_map>
#include <vector>

#include "libs/base/loop.h"

namespace gantry {

/// One libuv loop. Construct, run() and destroy on one thread; post() and stop() from any.
/// The process ignores SIGPIPE from the first one on, unless it handles it itself.
class UvLoop final : public Loop {
 public:
  UvLoop();
  ~UvLoop() override;
  UvLoop(const UvLoop&) = delete;
  UvLoop& operator=(const UvLoop&) = delete;

  Duration now() const override;
  WallMicros wall() const override;
  void post(std::function<void()> callback) override;

  /// Runs until stop().
  void run();
  /// Runs what is due, waiting for at most one round of events; for tests.
  void run_once(bool wait = true);
  void stop();

  /// For libraries that bind to libuv themselves (sockets, NATS, Redis).
  uv_loop_t* raw() { return &loop_; }

 private:
  struct UvTimer;
  uint64_t start_timer(Duration delay, Duration period, std::function<void()> callback) override;
  void cancel_timer(uint64_t id) override;
  void drain();

  uv_loop_t loop_{};
  uv_async_t wake_{};
  std::mutex mutex_;  // guards posted_: post() comes from any thread
  std::vector<std::function<void()>> posted_;
  std::atomic<bool> stopping_ = false;
  std::unordered_map<uint64_t, UvTimer*> timers_;
  uint64_t next_timer_ = 1;
};

}  // namespace gantry
