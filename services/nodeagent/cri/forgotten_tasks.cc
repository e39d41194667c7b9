#include "services/nodeagent/cri/forgotten_tasks.h"

#include <csignal>

namespace gantry::nodeagent {

namespace tasks = containerd::services::tasks::v1;
using Stub = tasks::Tasks::Stub;

namespace {
constexpr Duration kQuick = std::chrono::seconds(20);
constexpr Duration kAgain = std::chrono::seconds(1);  // when it could not be taken away
}  // namespace

void ForgottenTasks::find(const std::string& id, std::function<void(Result<bool>)> done) {
  tasks::GetRequest request;
  request.set_container_id(id);
  calls_.call(tasks_.async(), &Stub::async::Get, std::move(request), kQuick,
              [done = std::move(done)](Result<tasks::GetResponse> r) {
                if (!r.ok() && r.code() != Code::kNotFound) return done(r.error());
                done(r.ok());
              });
}

void ForgottenTasks::end(const std::string& id, std::function<void()> done) {
  if (!ending_.insert(id).second) return;
  LOG(WARNING) << "container=" << id << " has ended for the runtime, but its task is there: ended";
  auto remove = [this, id, done = std::move(done)] {
    tasks::DeleteTaskRequest request;
    request.set_container_id(id);
    calls_.call(tasks_.async(), &Stub::async::Delete, std::move(request), kQuick, [this, id, done](auto r) {
      const bool gone = r.ok() || r.code() == Code::kNotFound;
      if (!gone) LOG(WARNING) << "container=" << id << " removing its task: " << r.error().message;
      retries_[id] = calls_.loop().after(gone ? Duration::zero() : kAgain, [this, id, done] {
        auto timer = retries_.extract(id);  // this function is the timer's
        ending_.erase(id);
        done();
      });
    });
  };
  // What these two fail for, the removal tells.
  auto wait = [this, id, remove = std::move(remove)] {
    tasks::WaitRequest request;
    request.set_container_id(id);
    calls_.call(tasks_.async(), &Stub::async::Wait, std::move(request), kQuick, [remove](auto) { remove(); });
  };
  tasks::KillRequest request;
  request.set_container_id(id);
  request.set_signal(SIGKILL);
  request.set_all(true);
  calls_.call(tasks_.async(), &Stub::async::Kill, std::move(request), kQuick,
              [wait = std::move(wait)](auto) { wait(); });
}

}  // namespace gantry::nodeagent
