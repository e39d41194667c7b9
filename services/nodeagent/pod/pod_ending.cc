// The end of containers, sandboxes and pods.
#include "services/nodeagent/pod/machine.h"

namespace gantry::nodeagent {

namespace {

// Who had to wait, for a hook or for others, still gets this much.
constexpr int64_t kLeastGrace = 2;

bool alive(const Container& c) { return c.state == ContainerState::kRunning || c.state == ContainerState::kUnknown; }

}  // namespace

void PodMachine::end_container(const Container& c, int64_t grace, const std::string& why, bool turn) {
  auto [entry, fresh] = memory_.stops.try_emplace(c.id);
  auto& plan = entry->second;
  if (fresh) {
    plan.since = in_.now;
    plan.deadline = in_.now + grace * kSecond;
    note(false, "Killing", why, c.name);
  }
  plan.deadline = std::min(plan.deadline, in_.now + grace * kSecond);
  const auto* spec = in_.pod && in_.pod->spec() ? find_container(*in_.pod->spec(), c.name) : nullptr;
  const bool hook = grace > 0 && spec && spec->lifecycle() && spec->lifecycle()->pre_stop();
  if (hook && !plan.hook_done && plan.asked == 0 && in_.now < plan.deadline) {
    wake(plan.deadline);
    auto key = "pre-stop/" + c.id;
    if (busy(key)) return;
    auto& a = act(Action::Kind::kPreStop, key);
    a.id = c.id;
    a.container = c.name;
    a.grace_seconds = (plan.deadline - in_.now + kSecond - 1) / kSecond;
    return;
  }
  if (!turn && in_.now < plan.deadline) return wake(plan.deadline);
  int64_t left = std::max<int64_t>(0, (plan.deadline - in_.now + kSecond - 1) / kSecond);
  if (in_.now > plan.since && grace > 0 && plan.asked == 0) left = std::max(left, kLeastGrace);
  const auto kill_at = in_.now + left * kSecond;
  auto key = "stop/" + c.id;
  // A nearer deadline overtakes a stop that is under way.
  if (busy(key)) {
    if (plan.asked <= kill_at) return;
    key += fmt::format("/{}", left);
    if (busy(key)) return;
  }
  if (!may_stop(c.id)) return;
  plan.asked = kill_at;
  auto& a = act(Action::Kind::kStopContainer, key);
  a.id = c.id;
  a.container = c.name;
  a.grace_seconds = left;
}

void PodMachine::stop_sandbox(const Sandbox& sandbox) {
  auto key = "stop-sandbox/" + sandbox.id;
  if (!busy(key) && may_stop(sandbox.id)) act(Action::Kind::kStopSandbox, key).id = sandbox.id;
}

void PodMachine::remove_sandbox(const Sandbox& sandbox) {
  auto key = "remove-sandbox/" + sandbox.id;
  if (!busy(key) && may_stop(sandbox.id)) act(Action::Kind::kRemoveSandbox, key).id = sandbox.id;
}

void PodMachine::remove_container(const Container& c) {
  auto key = "remove/" + c.id;
  if (!busy(key) && may_stop(c.id)) act(Action::Kind::kRemoveContainer, key).id = c.id;
}

// Deleted, gone or over: containers first (sidecars after the others, the last one first), then sandboxes, then (when
// deleted) every trace.
void PodMachine::wind_down(bool deleting) {
  // Their outcome will wake us.
  if (busy("sandbox") || busy_with("start/")) return;
  for (const auto& key : memory_.in_flight) {
    if (key.starts_with("launch/") && memory_.uncreated.count(key) == 0) return;
  }
  int64_t grace = grace_seconds(in_);
  if (memory_.termination && memory_.termination->grace_seconds)
    grace = std::min(grace, *memory_.termination->grace_seconds);
  auto end = [&](const Container& c, bool turn) {
    end_container(c, grace, fmt::format("Stopping container {}", c.name), turn);
  };
  bool any = false;
  std::map<std::string, std::vector<const Container*>> sidecars;
  for (const auto& c : in_.runtime->containers) {
    // What never started has nothing to end: it goes with its sandbox.
    if (!alive(c)) continue;
    const bool waits = std::any_of(view_.init.begin(), view_.init.end(),
                                   [&](const ContainerView& init) { return init.sidecar && init.name == c.name; });
    if (waits) {
      sidecars[c.name].push_back(&c);
      continue;
    }
    any = true;
    end(c, true);
  }
  for (auto init = view_.init.rbegin(); init != view_.init.rend(); ++init) {
    auto running = sidecars.find(init->name);
    if (running == sidecars.end()) continue;
    for (const auto* c : running->second) end(*c, !any);
    any = true;
  }
  if (any) return;
  for (const auto& s : in_.runtime->sandboxes) {
    if (s.ready || !memory_.stopped_sandboxes.count(s.id)) {
      any = true;
      stop_sandbox(s);
    }
  }
  if (any) return;
  // A pod that is over uses nothing any more, however long it stays to be looked at.
  if (!deleting) {
    if (!memory_.released && !busy("release") && !busy("prepare")) act(Action::Kind::kRelease, "release");
    return;
  }
  if (in_.pod != nullptr && !memory_.frozen) memory_.frozen = derive_status(in_, view_, memory_);
  for (const auto& s : in_.runtime->sandboxes) remove_sandbox(s);
  if (!in_.runtime->sandboxes.empty()) return;
  for (const auto& c : in_.runtime->containers) remove_container(c);
  if (!in_.runtime->containers.empty() || busy_with("remove") || busy("prepare") || busy("release")) return;
  if (!memory_.cleaned) {
    if (!busy("cleanup")) act(Action::Kind::kCleanup, "cleanup");
    return;
  }
  if (!in_.desired || in_.pod == nullptr) {
    d_.finished = memory_.in_flight.empty() || !busy("confirm");
    return;
  }
  if (!busy("confirm") && may_try(memory_.confirm_failure)) act(Action::Kind::kConfirmDelete, "confirm");
}

}  // namespace gantry::nodeagent
