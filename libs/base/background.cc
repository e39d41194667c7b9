#include "libs/base/background.h"

#include <utility>

namespace gantry {

Background::Background(size_t max_queued) : max_queued_(max_queued), thread_([this] { serve(); }) {}

Background::~Background() {
  {
    const std::lock_guard lock(mutex_);
    stopped_ = true;
  }
  changed_.notify_one();
  thread_.join();
}

bool Background::run(std::function<void()> work) {
  {
    const std::lock_guard lock(mutex_);
    if (queue_.size() >= max_queued_) return false;
    queue_.push_back(std::move(work));
  }
  changed_.notify_one();
  return true;
}

void Background::serve() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopped_ || !queue_.empty(); });
    if (stopped_) return;
    auto work = std::move(queue_.front());
    queue_.pop_front();
    lock.unlock();
    work();
    work = nullptr;  // before the lock: what it holds may take its time to go
    lock.lock();
  }
}

}  // namespace gantry
