#include "libs/base/testing/manual_loop.h"

namespace gantry::testing {

size_t ManualLoop::drain() {
  size_t ran = 0;
  while (!posted_.empty()) {
    auto callback = std::move(posted_.front());
    posted_.pop_front();
    callback();
    ++ran;
  }
  return ran;
}

bool ManualLoop::step() {
  drain();
  if (timers_.empty()) return false;
  auto it = timers_.begin();
  now_ = std::max(now_, it->first.first);
  Entry entry = std::move(it->second);
  timers_.erase(it);
  if (entry.period > Duration::zero()) {
    due_[entry.id] = now_ + entry.period;
    timers_.emplace(std::pair(now_ + entry.period, entry.id), entry);
  } else {
    due_.erase(entry.id);
  }
  entry.callback();
  drain();
  return true;
}

void ManualLoop::advance(Duration d) {
  Duration end = now_ + d;
  drain();
  while (!timers_.empty() && timers_.begin()->first.first <= end) step();
  now_ = end;
}

bool ManualLoop::run_until(const std::function<bool()>& done, Duration limit) {
  Duration end = now_ + limit;
  drain();
  while (!done()) {
    if (timers_.empty() || timers_.begin()->first.first > end) {
      now_ = end;
      return done();
    }
    step();
  }
  return true;
}

uint64_t ManualLoop::start_timer(Duration delay, Duration period, std::function<void()> callback) {
  uint64_t id = next_id_++;
  Duration due = now_ + std::max(delay, Duration::zero());
  due_[id] = due;
  timers_.emplace(std::pair(due, id), Entry{id, period, std::move(callback)});
  return id;
}

void ManualLoop::cancel_timer(uint64_t id) {
  auto it = due_.find(id);
  if (it == due_.end()) return;
  timers_.erase({it->second, id});
  due_.erase(it);
}

}  // namespace gantry::testing
