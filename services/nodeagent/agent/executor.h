// Work that blocks (the disk), off the loop.
#pragma once

#include <uv.h>

#include <functional>
#include <memory>

#include "libs/base/uv_loop.h"

namespace gantry::nodeagent {

class Executor {
 public:
  virtual ~Executor() = default;
  /// `work` runs elsewhere; then `done` on the loop, never inside this call.
  virtual void run(std::function<void()> work, std::function<void()> done) = 0;
};

/// On libuv's thread pool. The loop outlives it.
class UvExecutor final : public Executor {
 public:
  explicit UvExecutor(UvLoop& loop) : loop_(loop) {}
  void run(std::function<void()> work, std::function<void()> done) override {
    struct Job {
      uv_work_t request;
      std::function<void()> work, done;
    };
    auto* job = new Job{{}, std::move(work), std::move(done)};
    job->request.data = job;
    uv_queue_work(
        loop_.raw(), &job->request, [](uv_work_t* request) { static_cast<Job*>(request->data)->work(); },
        [](uv_work_t* request, int) {
          std::unique_ptr<Job> job(static_cast<Job*>(request->data));
          job->done();
        });
  }

 private:
  UvLoop& loop_;
};

/// On the loop itself: tests and the simulation, and hollow nodes, which have no disk.
class InlineExecutor final : public Executor {
 public:
  explicit InlineExecutor(Loop& loop) : loop_(loop) {}
  void run(std::function<void()> work, std::function<void()> done) override {
    loop_.post([work = std::move(work), done = std::move(done)] {
      work();
      done();
    });
  }

 private:
  Loop& loop_;
};

}  // namespace gantry::nodeagent
