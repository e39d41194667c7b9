#include "services/nodeagent/agent/shutdown.h"

#include <charconv>
#include <sstream>

namespace gantry::nodeagent {

namespace {

constexpr int32_t kCritical = 2'000'000'000;
constexpr Duration kLook = std::chrono::milliseconds(100);

template <typename T>
bool parse(std::string_view text, T& out) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
  return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

Result<std::vector<ShutdownStep>> shutdown_steps(int64_t grace_seconds, int64_t critical_seconds,
                                                 const std::string& by_priority) {
  std::vector<ShutdownStep> steps;
  if (!by_priority.empty()) {
    if (grace_seconds != 0 || critical_seconds != 0)
      return Error{Code::kInvalid, "--shutdown-grace-period-by-pod-priority stands instead of the other two flags"};
    std::istringstream parts(by_priority);
    for (std::string part; std::getline(parts, part, ',');) {
      auto equals = part.find('=');
      ShutdownStep step;
      if (equals == std::string::npos || !parse(std::string_view(part).substr(0, equals), step.priority) ||
          !parse(std::string_view(part).substr(equals + 1), step.seconds) || step.seconds < 0)
        return Error{Code::kInvalid,
                     fmt::format("--shutdown-grace-period-by-pod-priority: \"{}\" is not PRIORITY=SECONDS", part)};
      steps.push_back(step);
    }
    std::sort(steps.begin(), steps.end(), [](const auto& a, const auto& b) { return a.priority < b.priority; });
    return steps;
  }
  if (critical_seconds > grace_seconds)
    return Error{Code::kInvalid, "--shutdown-grace-period-critical-pods is a part of --shutdown-grace-period"};
  if (grace_seconds == 0) return steps;
  return std::vector<ShutdownStep>{{0, grace_seconds - critical_seconds}, {kCritical, critical_seconds}};
}

int64_t NodeShutdown::seconds() const {
  int64_t all = 0;
  for (const auto& step : steps_) all += step.seconds;
  return all;
}

void NodeShutdown::begin(std::function<void()> done) {
  done_.push_back(std::move(done));
  if (step_) return;
  LOG(INFO) << "node=" << agent_.node().node << " shuts down: its pods end within " << seconds() << " s";
  agent_.refuse_pods({"NodeShutdown", "Pod was rejected as the node is shutting down.", 0, false});
  step_ = 0;
  next();
}

// The lowest step has those below it too.
bool NodeShutdown::in_step(const PodWorker& pod) const {
  int32_t priority = 0;
  if (pod.pod()) priority = pod.pod().as<core::Pod>()->spec()->priority().value_or(0);
  const size_t step = *step_;
  return (step == 0 || priority >= steps_[step].priority) &&
         (step + 1 == steps_.size() || priority < steps_[step + 1].priority);
}

void NodeShutdown::next() {
  if (*step_ >= steps_.size()) {
    look_.reset();
    for (auto& done : std::exchange(done_, {})) done();
    return;
  }
  const auto grace = steps_[*step_].seconds;
  until_ = loop_.now() + Duration(std::chrono::seconds(grace));
  std::vector<std::string> uids;
  agent_.for_each([&](const PodWorker& pod) {
    if (in_step(pod)) uids.push_back(pod.uid());
  });
  for (const auto& uid : uids)
    agent_.terminate(uid, {"Terminated", "Pod was terminated in response to imminent node shutdown.", grace, true});
  look_ = loop_.every(kLook, [this] { check(); });
}

void NodeShutdown::check() {
  bool running = false;
  agent_.for_each([&](const PodWorker& pod) { running |= in_step(pod) && !pod.ended(); });
  if (running && loop_.now() < until_) return;
  ++*step_;
  loop_.post([this] { next(); });
  look_.reset();
}

}  // namespace gantry::nodeagent
