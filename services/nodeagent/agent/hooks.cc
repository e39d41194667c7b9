// postStart and preStop: what runs in, or asks, a container when its life begins and ends.
#include "services/nodeagent/agent/pod_worker.h"

namespace gantry::nodeagent {

using model::str;

void PodWorker::run_hook(const core::LifecycleHandler& hook, const core::Container& container, const std::string& id,
                         Duration timeout, std::function<void(Status)> done) {
  if (const auto* exec = hook.exec()) {
    std::vector<std::string> command;
    if (exec->command()) {
      for (const auto* word : *exec->command()) command.emplace_back(str(word));
    }
    context_.runtime.exec_sync(
        id, command, timeout, guard([done](Result<Runtime::ExecResult> r) {
          if (!r.ok()) return done(r.error());
          if (r->exit_code == 0) return done(Done{});
          done(Error{Code::kInternal, fmt::format("command exited with {}: {}", r->exit_code, r->output)});
        }));
  } else if (const auto* http = hook.http_get()) {
    auto request = render_http(*http, container, address());
    request.any_status = true;  // that it was told is what counts
    context_.probes.http(request, timeout, guard(std::move(done)));
  } else if (const auto* sleep = hook.sleep()) {
    auto time = std::min(timeout, Duration(std::chrono::seconds(sleep->seconds().value_or(0))));
    auto timer = std::make_shared<Timer>();
    *timer = context_.loop.after(time, guard([done, timer] { done(Done{}); }));
  } else {
    // tcpSocket is there for compatibility only: the API says that it fails when it is used.
    context_.loop.post(guard([done] { done(Error{Code::kInvalid, "invalid handler: tcpSocket is not supported"}); }));
  }
}

}  // namespace gantry::nodeagent
