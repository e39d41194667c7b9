#include "services/nodeagent/pod/pod_machine.h"

#include "services/nodeagent/pod/machine.h"

namespace gantry::nodeagent {

using model::str;

namespace {
constexpr int64_t kDefaultGrace = 30;
constexpr int64_t kForgetCrashesAfter = 600;  // seconds of running
}  // namespace

Decision PodMachine::run() {
  remember();
  view_ = view_pod(in_, memory_);
  if (view_.sandbox && !view_.sandbox->ips.empty()) memory_.pod_ips = view_.sandbox->ips;
  settle_terminal();
  bool deleting = !in_.desired || in_.pod == nullptr || in_.pod->metadata()->deletion_timestamp().has_value();
  memory_.ending = deleting || memory_.terminal;
  if (memory_.ending) {
    wind_down(deleting);
  } else {
    keep_running();
  }
  if (in_.pod != nullptr) {
    d_.status = memory_.frozen ? *memory_.frozen : derive_status(in_, view_, memory_);
    memory_.last = d_.status;
  }
  return std::move(d_);
}

// What survives only here once the runtime has dropped a container, and nothing else about it.
void PodMachine::remember() {
  std::set<std::string> there;
  for (const auto& c : in_.runtime->containers) there.insert(c.id);
  auto gone = [&](const auto& entry) { return there.count(entry.first) == 0; };
  std::erase_if(memory_.stops, gone);
  std::erase_if(memory_.probes, gone);
  std::erase_if(memory_.termination_messages, gone);
  std::erase_if(memory_.hook_failures, [&](const auto& entry) {
    return std::any_of(in_.runtime->containers.begin(), in_.runtime->containers.end(),
                       [&](const Container& c) { return c.id == entry.first && c.state == ContainerState::kExited; });
  });
  for (const auto& c : in_.runtime->containers) {
    auto& next = memory_.next_attempts[c.name];
    next = std::max(next, c.attempt + 1);
    if (c.reason == "OOMKilled") memory_.oom_killed.insert(c.id);
  }
  if (memory_.last.phase.empty() && in_.pod && in_.pod->status()) {
    memory_.last = decode_status(*in_.pod);
    for (const auto* list : {&memory_.last.containers, &memory_.last.init_containers, &memory_.last.ephemeral}) {
      for (const auto& s : *list) {
        if (s.container_id.empty()) continue;
        auto& next = memory_.next_attempts[s.name];
        next = std::max(next, static_cast<uint32_t>(s.restart_count) + 1);
      }
    }
  }
}

void PodMachine::settle_terminal() {
  if (in_.pod == nullptr || memory_.terminal) return;
  if (memory_.termination || memory_.last.phase == "Succeeded" || memory_.last.phase == "Failed" || view_.over()) {
    memory_.terminal = true;
    return;
  }
  auto limit = in_.pod->spec()->active_deadline_seconds();
  if (!limit.has_value() || memory_.last.start_time == 0) return;
  auto end = (memory_.last.start_time + *limit) * kSecond;
  if (in_.now >= end) {
    memory_.terminal = true;
    memory_.termination = Termination{
        "DeadlineExceeded", "Pod was active on the node longer than the specified deadline", std::nullopt, false};
    note(false, "DeadlineExceeded", memory_.termination->message, {});
  } else {
    wake(end);
  }
}

bool PodMachine::busy_with(std::string_view prefix) const {
  auto it = memory_.in_flight.lower_bound(std::string(prefix));
  return it != memory_.in_flight.end() && it->compare(0, prefix.size(), prefix) == 0;
}

bool PodMachine::may_try(const std::optional<Failure>& failure) {
  if (!failure || failure->retry_at <= in_.now) return true;
  wake(failure->retry_at);
  return false;
}

bool PodMachine::may_stop(const std::string& id) {
  auto failure = memory_.stop_failures.find(id);
  return failure == memory_.stop_failures.end() || may_try(failure->second);
}

Action& PodMachine::act(Action::Kind kind, std::string key) {
  memory_.in_flight.insert(key);
  d_.actions.push_back({kind, std::move(key), {}, {}, 0, 0});
  return d_.actions.back();
}

void PodMachine::keep_running() {
  if (!memory_.prepared && !busy("prepare") && may_try(memory_.prepare_failure)) act(Action::Kind::kPrepare, "prepare");
  if (view_.sandbox == nullptr) return replace_sandbox();
  memory_.sandbox_failure.reset();
  if (!memory_.prepared) return;
  for (auto& c : view_.ephemeral) keep_ephemeral(c);
  for (auto& c : view_.init) {
    // Those before the one that is due, and sidecars at all times, are kept as they are.
    if (view_.initialized ? c.sidecar : (&c == view_.init_next || c.sidecar)) keep(c);
    if (&c == view_.init_next) break;
  }
  if (view_.initialized) {
    for (auto& c : view_.main) keep(c);
  }
  tidy();
}

// The pod's network is gone: what still runs in it ends, then a new one.
void PodMachine::replace_sandbox() {
  for (const auto& c : in_.runtime->containers) {
    if (c.state == ContainerState::kRunning)
      end_container(c, grace_seconds(in_), "Pod sandbox changed, it will be killed and re-created.");
  }
  bool stopping = false;
  for (const auto& s : in_.runtime->sandboxes) {
    if (memory_.stopped_sandboxes.count(s.id)) continue;
    stopping = true;
    stop_sandbox(s);
  }
  if (stopping || busy("sandbox")) return;
  if (!may_try(memory_.sandbox_failure)) return;
  uint32_t attempt = 0;
  for (const auto& s : in_.runtime->sandboxes) attempt = std::max(attempt, s.attempt + 1);
  if (attempt > 0) note(false, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", {});
  act(Action::Kind::kRunSandbox, "sandbox").attempt = attempt;
}

void PodMachine::keep(const ContainerView& c) {
  if (busy("launch/" + c.name) || busy("start/" + c.name)) return;
  if (c.running()) {
    memory_.launch_failures.erase(c.name);
    return keep_healthy(c);
  }
  if (!launch_due(c)) return;
  if (c.current && c.current->state == ContainerState::kCreated) {
    auto& a = act(Action::Kind::kStart, "start/" + c.name);
    a.id = c.current->id;
    a.container = c.name;
    return;
  }
  if (c.current && (!view_.restarts(c) || !crash_over(c))) return;
  launch(c);
}

// Runs once, whatever becomes of it; beside the others, initialized or not.
void PodMachine::keep_ephemeral(const ContainerView& c) {
  if (busy("launch/" + c.name) || busy("start/" + c.name)) return;
  if (c.current && c.current->state == ContainerState::kCreated) {
    if (!launch_due(c)) return;
    auto& a = act(Action::Kind::kStart, "start/" + c.name);
    a.id = c.current->id;
    a.container = c.name;
  } else if (c.newest == nullptr && memory_.next_attempts[c.name] == 0 && launch_due(c)) {
    launch(c);
  }
}

bool PodMachine::launch_due(const ContainerView& c) {
  auto failure = memory_.launch_failures.find(c.name);
  if (failure == memory_.launch_failures.end()) return true;
  if (auto shown = failure->second.backing_off_at(); shown > in_.now) {
    wake(shown);
  } else if (failure->second.reason == "ErrImagePull" && failure->second.retry_at > in_.now &&
             !std::exchange(failure->second.told, true)) {
    d_.notes.push_back({false, "BackOff", fmt::format("Back-off pulling image \"{}\"", str(c.spec->image())), c.name});
    d_.notes.push_back({true, "Failed", "Error: ImagePullBackOff", c.name});
  }
  return may_try(failure->second);
}

void PodMachine::launch(const ContainerView& c) {
  auto key = "launch/" + c.name;
  memory_.uncreated.insert(key);
  auto& a = act(Action::Kind::kLaunch, key);
  a.id = view_.sandbox->id;
  a.container = c.name;
  a.attempt = memory_.next_attempts[c.name];
}

// What its postStart hook and its probes say of one that runs.
void PodMachine::keep_healthy(const ContainerView& c) {
  const auto& id = c.current->id;
  if (memory_.hook_failures.count(id) != 0)
    return end_container(*c.current, grace_seconds(in_), fmt::format("FailedPostStartHook: container {}", c.name));
  auto probes = memory_.probes.find(id);
  if (probes == memory_.probes.end() || probes->second.live) return;
  const bool started = probes->second.started;
  const auto* probe = started ? c.spec->liveness_probe() : c.spec->startup_probe();
  auto own = probe ? probe->termination_grace_period_seconds() : flatbuffers::nullopt;
  end_container(
      *c.current, own.has_value() ? *own : grace_seconds(in_),
      fmt::format("Container {} failed {} probe, will be restarted", c.name, started ? "liveness" : "startup"));
}

// True when a container that has ended may start again.
bool PodMachine::crash_over(const ContainerView& c) {
  bool first = memory_.crashes.count(c.name) == 0;
  auto& crash = memory_.crashes[c.name];
  if (crash.seen != c.current->id) {
    auto ran = (c.current->finished_at - c.current->started_at) / 1'000'000'000;
    if (first && c.current->attempt > 0) {
      crash.delay = Failure::delay_seconds(
          static_cast<int>(std::min<uint32_t>(c.current->attempt, 10)));  // relearned after our own restart
    } else if (first || (c.current->started_at > 0 && ran >= kForgetCrashesAfter)) {
      crash.delay = 0;
    } else {
      crash.delay = crash.delay == 0 ? Failure::kFirstSeconds : std::min(Failure::kMostSeconds, crash.delay * 2);
    }
    crash.seen = c.current->id;
    crash.until = c.current->finished_at / 1'000 + crash.delay * kSecond;
    crash.told = false;
  }
  if (crash.until <= in_.now) return true;
  if (!crash.told) {
    crash.told = true;
    note(true, "BackOff",
         fmt::format("Back-off restarting failed container {} in pod {}_{}({})", c.name, in_.runtime->name,
                     in_.runtime->ns, in_.runtime->uid),
         c.name);
  }
  wake(crash.until);
  return false;
}

// Old attempts: of each container all but the newest two, and sandboxes that the current one has replaced.
void PodMachine::tidy() {
  std::map<std::string, int> seen;
  for (const auto& c : in_.runtime->containers) {
    if (++seen[c.name] > 2 && c.state == ContainerState::kExited) remove_container(c);
  }
  bool all_moved =
      std::all_of(view_.main.begin(), view_.main.end(), [](const ContainerView& c) { return c.current != nullptr; });
  for (const auto& s : in_.runtime->sandboxes) {
    if (&s == view_.sandbox) continue;
    if (!memory_.stopped_sandboxes.count(s.id)) {
      stop_sandbox(s);
    } else if (all_moved) {
      remove_sandbox(s);
    }
  }
}

bool is_sidecar(const core::Container& container) { return str(container.restart_policy()) == "Always"; }

const core::Container& as_container(const core::EphemeralContainer& container) {
  // The same fields under the same numbers, and one more: a table finds its fields by number alone.
  static_assert(static_cast<int>(core::EphemeralContainer::VT_NAME) == static_cast<int>(core::Container::VT_NAME));
  static_assert(static_cast<int>(core::EphemeralContainer::VT_RESTART_POLICY_RULES) ==
                static_cast<int>(core::Container::VT_RESTART_POLICY_RULES));
  return reinterpret_cast<const core::Container&>(container);
}

const core::Container* find_container(const core::PodSpec& spec, std::string_view name) {
  for (const auto* list : {spec.containers(), spec.init_containers()}) {
    if (list == nullptr) continue;
    for (const auto* c : *list) {
      if (str(c->name()) == name) return c;
    }
  }
  if (spec.ephemeral_containers() == nullptr) return nullptr;
  for (const auto* c : *spec.ephemeral_containers()) {
    if (str(c->name()) == name) return &as_container(*c);
  }
  return nullptr;
}

int64_t grace_seconds(const PodInput& input) {
  if (input.pod != nullptr) {
    auto deletion = input.pod->metadata()->deletion_grace_period_seconds();
    if (deletion.has_value()) return *deletion;
    return input.pod->spec()->termination_grace_period_seconds().value_or(kDefaultGrace);
  }
  for (const auto& sandbox : input.runtime->sandboxes) {
    auto told = sandbox.annotations.find(kGracePeriodAnnotation);
    if (told != sandbox.annotations.end()) return std::max(0LL, std::strtoll(told->second.c_str(), nullptr, 10));
  }
  return kDefaultGrace;
}

Decision decide(const PodInput& input, PodMemory& memory) { return PodMachine(input, memory).run(); }

}  // namespace gantry::nodeagent
