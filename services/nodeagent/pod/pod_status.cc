// derive_status: phase, conditions and container states, in the words that a kubectl user knows.
#include <fmt/ranges.h>

#include "services/nodeagent/pod/pod_view.h"

namespace gantry::nodeagent {

using model::str;
using Kind = ContainerStateValue::Kind;

namespace {

int64_t seconds(int64_t nanos) { return nanos / 1'000'000'000; }

ContainerStateValue terminated(const Container& c, const PodMemory& memory) {
  ContainerStateValue s;
  s.kind = Kind::kTerminated;
  s.exit_code = c.exit_code;
  s.reason = memory.oom_killed.count(c.id) ? "OOMKilled"
             : !c.reason.empty()           ? c.reason
             : c.exit_code == 0            ? "Completed"
                                           : "Error";
  s.message = c.message;
  if (auto m = memory.termination_messages.find(c.id); m != memory.termination_messages.end() && !m->second.empty())
    s.message = m->second;
  s.started_at = seconds(c.started_at);
  s.finished_at = seconds(c.finished_at);
  s.container_id = "containerd://" + c.id;
  return s;
}

const ContainerStatusValue* before(const PodMemory& memory, const std::string& name) {
  for (const auto* list : {&memory.last.containers, &memory.last.init_containers}) {
    for (const auto& s : *list) {
      if (s.name == name) return &s;
    }
  }
  return nullptr;
}

// Why a container that should be there is not running.
ContainerStateValue waiting(const PodInput& input, const PodView& view, const PodMemory& memory,
                            const ContainerView& c) {
  ContainerStateValue s;
  s.kind = Kind::kWaiting;
  if (auto failure = memory.launch_failures.find(c.name); failure != memory.launch_failures.end()) {
    s.reason = failure->second.reason;
    s.message = failure->second.message;
    if (s.reason == "ErrImagePull" && failure->second.backing_off_at() <= input.now) {
      s.reason = "ImagePullBackOff";
      s.message = fmt::format("Back-off pulling image \"{}\": {}", str(c.spec->image()), failure->second.message);
    }
    return s;
  }
  if (auto crash = memory.crashes.find(c.name);
      crash != memory.crashes.end() && crash->second.until > input.now && c.newest) {
    s.reason = "CrashLoopBackOff";
    s.message = fmt::format("back-off {}s restarting failed container={} pod={}_{}({})", crash->second.delay, c.name,
                            str(input.pod->metadata()->name()), str(input.pod->metadata()->namespace_()),
                            str(input.pod->metadata()->uid()));
    return s;
  }
  s.reason = !c.init && !view.initialized && !view.init.empty() ? "PodInitializing" : "ContainerCreating";
  if (c.init && view.init_next != nullptr && &c != view.init_next && !view.initialized) s.reason = "PodInitializing";
  return s;
}

ContainerStatusValue container_status(const PodInput& input, const PodView& view, const PodMemory& memory,
                                      const ContainerView& c, bool ending) {
  ContainerStatusValue out;
  out.name = c.name;
  out.image = str(c.spec->image());
  const auto* was = before(memory, c.name);
  if (c.newest == nullptr) {
    if (was && !was->container_id.empty()) {
      // The runtime has forgotten it (a new sandbox, a wiped disk): its end is all that can be said.
      out = *was;
      out.ready = false;
      out.started = false;
      if (was->state.kind == Kind::kRunning) {
        out.last_state = {Kind::kTerminated,
                          "ContainerStatusUnknown",
                          "The container could not be located",
                          137,
                          was->state.started_at,
                          0,
                          was->container_id};
      } else if (was->state.kind == Kind::kTerminated) {
        out.last_state = was->state;
      }
      if (ending || view.over()) {
        if (was->state.kind == Kind::kRunning) out.state = out.last_state;
      } else {
        out.state = waiting(input, view, memory, c);
      }
      return out;
    }
    out.state = waiting(input, view, memory, c);
    if (!c.init || c.sidecar) out.started = false;
    return out;
  }
  const auto& newest = *c.newest;
  if (!newest.image.empty() && newest.image.rfind("sha256:", 0) != 0) out.image = newest.image;
  out.image_id = newest.image_ref;
  out.container_id = "containerd://" + newest.id;
  out.restart_count = static_cast<int>(newest.attempt);
  if (c.previous && c.previous->state == ContainerState::kExited) {
    out.last_state = terminated(*c.previous, memory);
  } else if (was && was->container_id != out.container_id && was->state.kind == Kind::kTerminated) {
    out.last_state = was->state;
  } else if (was) {
    out.last_state = was->last_state;
  }
  out.started = c.started;
  out.ready = c.ready;
  if (c.init && !c.sidecar) {
    out.started = c.running();
    out.ready = c.succeeded();
  }
  switch (newest.state) {
    case ContainerState::kRunning:
      out.state.kind = Kind::kRunning;
      out.state.started_at = seconds(newest.started_at);
      break;
    case ContainerState::kExited: {
      out.state = terminated(newest, memory);
      out.started = false;
      bool again = !ending && !view.over() && !(c.init && !c.sidecar && view.initialized) && view.restarts(c);
      if (again) {
        auto wait = waiting(input, view, memory, c);
        // Between its end and an immediate restart it stays "terminated".
        if (wait.reason == "CrashLoopBackOff" || memory.launch_failures.count(c.name)) {
          out.last_state = out.state;
          out.state = wait;
        }
      }
      break;
    }
    default:
      out.state = waiting(input, view, memory, c);
  }
  return out;
}

std::string phase_of(const PodView& view, const PodStatusValue& s, bool ending) {
  if (view.init_failed) return "Failed";
  for (const auto& c : view.init) {
    if (!view.initialized && !c.sidecar && !c.succeeded()) return "Pending";
  }
  int waiting = 0, running = 0, stopped = 0, succeeded = 0;
  for (const auto& c : s.containers) {
    const auto& state =
        c.state.kind == Kind::kWaiting && c.last_state.kind == Kind::kTerminated ? c.last_state : c.state;
    if (state.kind == Kind::kRunning) ++running;
    if (state.kind == Kind::kWaiting || state.kind == Kind::kNone) ++waiting;
    if (state.kind == Kind::kTerminated) {
      ++stopped;
      succeeded += state.exit_code == 0;
    }
  }
  if (waiting > 0) return "Pending";
  if (running > 0) return "Running";
  if (stopped > 0 && !ending &&
      (view.restart_policy == "Always" || (view.restart_policy == "OnFailure" && stopped != succeeded))) {
    return "Running";
  }
  return stopped == 0 ? "Pending" : stopped == succeeded ? "Succeeded" : "Failed";
}

}  // namespace

PodStatusValue derive_status(const PodInput& input, const PodView& view, const PodMemory& memory) {
  PodStatusValue s;
  const auto& pod = *input.pod;
  bool host_network = pod.spec() && pod.spec()->host_network().value_or(false);
  bool deleting = !input.desired || pod.metadata()->deletion_timestamp().has_value();
  bool ending = deleting || memory.terminal;

  s.start_time = memory.last.start_time != 0 ? memory.last.start_time : input.now / 1'000'000;
  s.observed_generation = pod.metadata()->generation().value_or(0);
  s.qos_class = !memory.last.qos_class.empty() ? memory.last.qos_class : qos_class(*pod.spec());
  s.host_ips = input.host_ips;
  if (view.sandbox && host_network) {
    s.pod_ips = input.host_ips;
  } else {
    s.pod_ips = memory.pod_ips;
  }

  std::vector<std::string> unready, incomplete;
  for (const auto& c : view.init) {
    s.init_containers.push_back(container_status(input, view, memory, c, ending));
    if (!(c.sidecar ? c.started : c.succeeded())) incomplete.push_back(c.name);
    if (c.sidecar && !c.ready) unready.push_back(c.name);
  }
  for (const auto& c : view.main) {
    s.containers.push_back(container_status(input, view, memory, c, ending));
    if (!c.ready) unready.push_back(c.name);
  }
  bool stopped = std::none_of(input.runtime->containers.begin(), input.runtime->containers.end(),
                              [](const Container& c) { return c.state == ContainerState::kRunning; });
  s.phase = phase_of(view, s, ending && stopped);
  if (memory.terminal && !memory.terminal_reason.empty()) {
    s.phase = "Failed";
    s.reason = memory.terminal_reason;
    s.message = memory.terminal_message;
  } else if (memory.last.phase == "Failed" && !memory.last.reason.empty()) {
    s.phase = "Failed";
    s.reason = memory.last.reason;
    s.message = memory.last.message;
  }
  // What was once final stays so.
  if (memory.last.phase == "Succeeded" || memory.last.phase == "Failed") s.phase = memory.last.phase;
  bool over = s.phase == "Succeeded" || s.phase == "Failed";

  auto condition = [&](const char* type, bool status, std::string reason, std::string message) {
    int64_t since = input.now / 1'000'000;
    for (const auto& was : memory.last.conditions) {
      if (was.type == type && was.status == status && was.transition != 0) since = was.transition;
    }
    s.conditions.push_back({type, status, std::move(reason), std::move(message), since});
  };
  condition("PodReadyToStartContainers", view.sandbox != nullptr, "", "");
  std::string completed = s.phase == "Succeeded" ? "PodCompleted" : s.phase == "Failed" ? "PodFailed" : "";
  if (view.initialized || s.phase == "Succeeded") {
    condition("Initialized", true, s.phase == "Succeeded" ? "PodCompleted" : "", "");
  } else {
    condition("Initialized", false, "ContainersNotInitialized",
              fmt::format("containers with incomplete status: [{}]", fmt::join(incomplete, " ")));
  }
  bool ready = unready.empty() && !over && view.sandbox != nullptr && !view.main.empty();
  std::string reason = !completed.empty() ? completed : ready ? "" : "ContainersNotReady";
  std::string message =
      ready || !completed.empty() ? "" : fmt::format("containers with unready status: [{}]", fmt::join(unready, " "));
  std::string gate_message;
  if (ready && pod.spec()->readiness_gates()) {
    for (const auto* gate : *pod.spec()->readiness_gates()) {
      bool passed = false;
      if (pod.status() && pod.status()->conditions()) {
        for (const auto* c : *pod.status()->conditions())
          passed |= str(c->type()) == str(gate->condition_type()) && str(c->status()) == "True";
      }
      if (!passed)
        gate_message = fmt::format("corresponding condition of pod readiness gate \"{}\" does not exist.",
                                   str(gate->condition_type()));
    }
  }
  condition("Ready", ready && gate_message.empty(), gate_message.empty() ? reason : "ReadinessGatesNotReady",
            gate_message.empty() ? message : gate_message);
  condition("ContainersReady", ready, reason, message);
  condition("PodScheduled", true, "", "");
  return s;
}

}  // namespace gantry::nodeagent
