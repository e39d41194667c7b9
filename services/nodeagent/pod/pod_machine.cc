#include "services/nodeagent/pod/pod_machine.h"

#include "services/nodeagent/pod/pod_view.h"

namespace gantry::nodeagent {

using model::str;

namespace {

constexpr int64_t kDefaultGrace = 30;
constexpr int64_t kSecond = 1'000'000;
constexpr int64_t kForgetCrashesAfter = 600;  // seconds of running

class Machine {
 public:
  Machine(const PodInput& input, PodMemory& memory) : in_(input), memory_(memory) {}

  Decision run() {
    remember();
    view_ = view_pod(in_, memory_);
    if (view_.sandbox && !view_.sandbox->ips.empty()) memory_.pod_ips = view_.sandbox->ips;
    settle_terminal();
    bool deleting = !in_.desired || in_.pod == nullptr || in_.pod->metadata()->deletion_timestamp().has_value();
    if (deleting || memory_.terminal) {
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

 private:
  // What survives only here once the runtime has dropped a container.
  void remember() {
    for (const auto& c : in_.runtime->containers) {
      auto& next = memory_.next_attempts[c.name];
      next = std::max(next, c.attempt + 1);
      if (c.reason == "OOMKilled") memory_.oom_killed.insert(c.id);
    }
    if (memory_.last.phase.empty() && in_.pod && in_.pod->status()) {
      memory_.last = decode_status(*in_.pod);
      for (const auto* list : {&memory_.last.containers, &memory_.last.init_containers}) {
        for (const auto& s : *list) {
          if (s.container_id.empty()) continue;
          auto& next = memory_.next_attempts[s.name];
          next = std::max(next, static_cast<uint32_t>(s.restart_count) + 1);
        }
      }
    }
  }

  void settle_terminal() {
    if (in_.pod == nullptr || memory_.terminal) return;
    if (memory_.last.phase == "Succeeded" || memory_.last.phase == "Failed" || view_.over()) {
      memory_.terminal = true;
      return;
    }
    auto limit = in_.pod->spec()->active_deadline_seconds();
    if (!limit.has_value() || memory_.last.start_time == 0) return;
    auto end = (memory_.last.start_time + *limit) * kSecond;
    if (in_.now >= end) {
      memory_.terminal = true;
      memory_.terminal_reason = "DeadlineExceeded";
      memory_.terminal_message = "Pod was active on the node longer than the specified deadline";
    } else {
      wake(end);
    }
  }

  void wake(WallMicros at) { d_.requeue_at = d_.requeue_at ? std::min(*d_.requeue_at, at) : at; }
  bool busy(const std::string& key) const { return memory_.in_flight.count(key) != 0; }
  bool busy_with(std::string_view prefix) const {
    auto it = memory_.in_flight.lower_bound(std::string(prefix));
    return it != memory_.in_flight.end() && it->compare(0, prefix.size(), prefix) == 0;
  }
  /// Waits out a failure; true when it may be tried (again).
  bool may_try(const std::optional<Failure>& failure) {
    if (!failure || failure->retry_at <= in_.now) return true;
    wake(failure->retry_at);
    return false;
  }
  Action& act(Action::Kind kind, std::string key) {
    memory_.in_flight.insert(key);
    d_.actions.push_back({kind, std::move(key), {}, {}, 0, 0, {}});
    return d_.actions.back();
  }

  void stop_container(const Container& c, int64_t grace, std::string message) {
    auto key = "stop/" + c.id;
    auto asked = memory_.stop_grace.find(c.id);
    // A shorter grace overtakes a stop that is under way.
    if (busy(key)) {
      if (asked != memory_.stop_grace.end() && asked->second <= grace) return;
      key += fmt::format("/{}", grace);
      if (busy(key)) return;
    }
    if (auto failure = memory_.stop_failures.find(c.id);
        failure != memory_.stop_failures.end() && !may_try(failure->second))
      return;
    memory_.stop_grace[c.id] = grace;
    auto& a = act(Action::Kind::kStopContainer, key);
    a.id = c.id;
    a.container = c.name;
    a.grace_seconds = grace;
    a.message = std::move(message);
  }

  void stop_sandbox(const Sandbox& sandbox) {
    auto key = "stop-sandbox/" + sandbox.id;
    if (busy(key)) return;
    if (auto f = memory_.stop_failures.find(sandbox.id); f != memory_.stop_failures.end() && !may_try(f->second))
      return;
    act(Action::Kind::kStopSandbox, key).id = sandbox.id;
  }

  void remove_sandbox(const Sandbox& sandbox) {
    auto key = "remove-sandbox/" + sandbox.id;
    if (busy(key)) return;
    if (auto f = memory_.stop_failures.find(sandbox.id); f != memory_.stop_failures.end() && !may_try(f->second))
      return;
    act(Action::Kind::kRemoveSandbox, key).id = sandbox.id;
  }

  void remove_container(const Container& c) {
    auto key = "remove/" + c.id;
    if (busy(key)) return;
    if (auto f = memory_.stop_failures.find(c.id); f != memory_.stop_failures.end() && !may_try(f->second)) return;
    act(Action::Kind::kRemoveContainer, key).id = c.id;
  }

  bool alive(const Container& c) const {
    return c.state == ContainerState::kRunning || c.state == ContainerState::kCreated ||
           c.state == ContainerState::kUnknown;
  }

  // Deleted, gone or over: containers first, then sandboxes, then (when deleted) every trace.
  void wind_down(bool deleting) {
    if (busy("sandbox") || busy_with("launch/") || busy_with("start/")) return;  // its outcome will wake us
    bool any = false;
    int64_t grace = grace_seconds(in_);
    for (const auto& c : in_.runtime->containers) {
      // What never started has nothing to end: it goes with its sandbox.
      if (!alive(c) || c.state == ContainerState::kCreated) continue;
      any = true;
      stop_container(c, grace, fmt::format("Stopping container {}", c.name));
    }
    if (any) return;
    for (const auto& s : in_.runtime->sandboxes) {
      if (s.ready || !memory_.stopped_sandboxes.count(s.id)) {
        any = true;
        stop_sandbox(s);
      }
    }
    if (any || !deleting) return;
    if (in_.pod != nullptr && !memory_.frozen) memory_.frozen = derive_status(in_, view_, memory_);
    for (const auto& s : in_.runtime->sandboxes) remove_sandbox(s);
    if (!in_.runtime->sandboxes.empty()) return;
    for (const auto& c : in_.runtime->containers) remove_container(c);
    if (!in_.runtime->containers.empty() || busy_with("remove") || busy("prepare")) return;
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

  void keep_running() {
    if (!memory_.prepared && !busy("prepare") && may_try(memory_.prepare_failure))
      act(Action::Kind::kPrepare, "prepare");
    if (view_.sandbox == nullptr) return replace_sandbox();
    memory_.sandbox_failure.reset();
    if (!memory_.prepared) return;
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
  void replace_sandbox() {
    for (const auto& c : in_.runtime->containers) {
      if (c.state == ContainerState::kRunning)
        stop_container(c, grace_seconds(in_), "Pod sandbox changed, it will be killed and re-created.");
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
    if (attempt > 0)
      d_.notes.push_back({false, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.", {}});
    act(Action::Kind::kRunSandbox, "sandbox").attempt = attempt;
  }

  void keep(const ContainerView& c) {
    auto key = "launch/" + c.name;
    if (busy(key) || busy_with("start/")) return;
    if (c.running()) {
      memory_.launch_failures.erase(c.name);
      auto probes = memory_.probes.find(c.current->id);
      if (probes != memory_.probes.end() && !probes->second.live) {
        const auto* probe = c.spec->liveness_probe() ? c.spec->liveness_probe() : c.spec->startup_probe();
        bool started = probes->second.started;
        stop_container(
            *c.current,
            probe ? probe->termination_grace_period_seconds().value_or(grace_seconds(in_)) : grace_seconds(in_),
            fmt::format("Container {} failed {} probe, will be restarted", c.name, started ? "liveness" : "startup"));
      }
      return;
    }
    if (auto failure = memory_.launch_failures.find(c.name); failure != memory_.launch_failures.end()) {
      if (auto shown = failure->second.backing_off_at(); shown > in_.now) wake(shown);
      if (!may_try(failure->second)) return;
    }
    if (c.current && c.current->state == ContainerState::kCreated) {
      auto& a = act(Action::Kind::kStart, "start/" + c.name);
      a.id = c.current->id;
      a.container = c.name;
      return;
    }
    if (c.current && (!view_.restarts(c) || !crash_over(c))) return;
    auto& a = act(Action::Kind::kLaunch, key);
    a.id = view_.sandbox->id;
    a.container = c.name;
    a.attempt = memory_.next_attempts[c.name];
  }

  // True when a container that has ended may start again.
  bool crash_over(const ContainerView& c) {
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
      d_.notes.push_back({true, "BackOff",
                          fmt::format("Back-off restarting failed container {} in pod {}_{}({})", c.name,
                                      in_.runtime->name, in_.runtime->ns, in_.runtime->uid),
                          c.name});
    }
    wake(crash.until);
    return false;
  }

  // Old attempts: of each container all but the newest two, and sandboxes that the current one has replaced.
  void tidy() {
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

  const PodInput& in_;
  PodMemory& memory_;
  PodView view_;
  Decision d_;
};

}  // namespace

bool is_sidecar(const core::Container& container) { return str(container.restart_policy()) == "Always"; }

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

Decision decide(const PodInput& input, PodMemory& memory) { return Machine(input, memory).run(); }

}  // namespace gantry::nodeagent
