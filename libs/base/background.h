// One thread beside the loop, for work that is pure and takes long: parsing what is megabytes large.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>

namespace gantry {

/// Call from one thread. Its destruction waits for the work under way and drops what is queued.
class Background {
 public:
  explicit Background(size_t max_queued = 64);
  ~Background();
  Background(const Background&) = delete;
  Background& operator=(const Background&) = delete;

  /// Runs `work` on the thread, in turn; it answers by Loop::post(). False when too much is queued: nothing is done.
  bool run(std::function<void()> work);

 private:
  void serve();

  const size_t max_queued_;
  std::mutex mutex_;  // guards what follows
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  bool stopped_ = false;
  std::thread thread_;  // last: it begins when the rest is there
};

}  // namespace gantry
