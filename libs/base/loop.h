// The one thread that a service's logic runs on, and its clock. Production is UvLoop (uv_loop.h); tests and the
// simulation step a ManualLoop (testing/manual_loop.h), so that no test sleeps.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>

namespace gantry {

/// Monotonic time since an arbitrary start.
using Duration = std::chrono::microseconds;
/// Wall-clock time in microseconds since 1970-01-01T00:00:00Z.
using WallMicros = int64_t;

class Loop;

/// Owns one timer or one repeating timer: destroying or reset()ing it cancels. Use on the loop's thread only.
class Timer {
 public:
  Timer() = default;
  Timer(Timer&& other) noexcept;
  Timer& operator=(Timer&& other) noexcept;
  ~Timer() { reset(); }
  void reset();
  explicit operator bool() const { return loop_ != nullptr; }

 private:
  friend class Loop;
  Timer(Loop* loop, uint64_t id) : loop_(loop), id_(id) {}
  Loop* loop_ = nullptr;
  uint64_t id_ = 0;
};

/// Callbacks run one at a time on the loop's thread, in the order posted; timers in the order due. A callback never
/// runs inside the call that scheduled it. Everything except post() is for the loop's thread only. The loop outlives
/// all its timers.
class Loop {
 public:
  virtual ~Loop() = default;

  virtual Duration now() const = 0;
  virtual WallMicros wall() const = 0;
  /// Any thread.
  virtual void post(std::function<void()> callback) = 0;

  /// Runs once after `delay`, unless the Timer is reset first.
  [[nodiscard]] Timer after(Duration delay, std::function<void()> callback) {
    return {this, start_timer(delay, Duration::zero(), std::move(callback))};
  }
  /// Runs every `period`, first after one period.
  [[nodiscard]] Timer every(Duration period, std::function<void()> callback) {
    return {this, start_timer(period, period, std::move(callback))};
  }

 protected:
  friend class Timer;
  virtual uint64_t start_timer(Duration delay, Duration period, std::function<void()> callback) = 0;
  /// No effect on a timer that is done.
  virtual void cancel_timer(uint64_t id) = 0;
};

inline Timer::Timer(Timer&& other) noexcept : loop_(std::exchange(other.loop_, nullptr)), id_(other.id_) {}
inline Timer& Timer::operator=(Timer&& other) noexcept {
  if (this != &other) {
    reset();
    loop_ = std::exchange(other.loop_, nullptr);
    id_ = other.id_;
  }
  return *this;
}
inline void Timer::reset() {
  if (loop_ != nullptr) std::exchange(loop_, nullptr)->cancel_timer(id_);
}

}  // namespace gantry
