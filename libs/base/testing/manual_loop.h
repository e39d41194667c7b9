// A loop whose time moves only when a test says so. Deterministic: same calls, same order.
#pragma once

#include <deque>
#include <map>

#include "libs/base/loop.h"

namespace gantry::testing {

/// Single-threaded: post() too.
class ManualLoop final : public Loop {
 public:
  explicit ManualLoop(WallMicros start = 1'700'000'000'000'000) : start_(start) {}

  Duration now() const override { return now_; }
  WallMicros wall() const override { return start_ + now_.count(); }
  void post(std::function<void()> callback) override { posted_.push_back(std::move(callback)); }

  /// Runs what is posted, and what that posts, until nothing is; timers do not move. Returns how many callbacks ran.
  size_t drain();
  /// Drains, then moves time by `d`, running each timer at its due time and draining after it.
  void advance(Duration d);
  /// Moves to the next timer's due time and runs it; false when there is none.
  bool step();
  /// Advances in timer steps until `done` or `limit` of simulated time has passed. Returns done().
  bool run_until(const std::function<bool()>& done, Duration limit);

 private:
  struct Entry {
    uint64_t id;
    Duration period;
    std::function<void()> callback;
  };
  uint64_t start_timer(Duration delay, Duration period, std::function<void()> callback) override;
  void cancel_timer(uint64_t id) override;

  WallMicros start_;
  Duration now_ = Duration::zero();
  std::deque<std::function<void()>> posted_;
  std::map<std::pair<Duration, uint64_t>, Entry> timers_;  // by due time, then by order of creation
  std::map<uint64_t, Duration> due_;
  uint64_t next_id_ = 1;
};

}  // namespace gantry::testing
