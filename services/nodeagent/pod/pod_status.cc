// derive_status: phase, conditions and container states, in the words that a kubectl user knows.
#include <fmt/ranges.h>

#include "services/nodeagent/pod/pod_view.h"

namespace gantry::nodeagent {

using model::str;
using Kind = ContainerStateValue::Kind;

namespace {

constexpr size_t kMostMessages = 12 * 1024;

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
  for (const auto* list : {&memory.last.containers, &memory.last.init_containers, &memory.last.ephemeral}) {
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
  s.reason =
      !c.init && !c.ephemeral && !view.initialized && !view.init.empty() ? "PodInitializing" : "ContainerCreating";
  if (c.init && view.init_next != nullptr && &c != view.init_next && !view.initialized) s.reason = "PodInitializing";
  return s;
}

// What it was given, and how its volumes are mounted.
void describe(const PodInput& input, const PodMemory& memory, const ContainerView& c, ContainerStatusValue& out) {
  if (!c.ephemeral) {
    const auto* resources = c.spec->resources();
    out.has_resources = true;
    out.allocated = out.requests = resources ? resource_list(resources->requests()) : ResourceList();
    out.limits = resources ? resource_list(resources->limits()) : ResourceList();
    // While a resize is on its way the container still has what it had.
    if (auto actual = memory.actual_resources.find(c.name); actual != memory.actual_resources.end()) {
      out.requests = actual->second.first;
      out.limits = actual->second.second;
    }
  }
  out.user = c.newest->user;
  if (c.spec->volume_mounts() == nullptr) return;
  for (const auto* m : *c.spec->volume_mounts()) {
    const bool readonly = m->read_only().value_or(false);
    auto recursive = str(m->recursive_read_only());
    out.mounts.push_back({std::string(str(m->name())), std::string(str(m->mount_path())),
                          !readonly                                        ? ""
                          : recursive.empty() || recursive == "IfPossible" ? "Disabled"
                                                                           : std::string(recursive),
                          readonly});
  }
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
    if (!c.ephemeral && (!c.init || c.sidecar)) out.started = false;
    return out;
  }
  const auto& newest = *c.newest;
  if (!newest.image.empty() && newest.image.rfind("sha256:", 0) != 0) out.image = newest.image;
  out.image_id = newest.image_ref;
  out.container_id = "containerd://" + newest.id;
  if (auto said = newest.annotations.find(kStopSignalAnnotation); said != newest.annotations.end())
    out.stop_signal = said->second;
  out.restart_count = static_cast<int>(newest.attempt);
  describe(input, memory, c, out);
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
  if (c.ephemeral) {
    out.started.reset();
    out.ready = false;
  }
  switch (newest.state) {
    case ContainerState::kRunning:
      if (memory.hooking.count(newest.id) != 0) {
        // As for a kubelet, it runs once its postStart hook has ended.
        out.state = waiting(input, view, memory, c);
        break;
      }
      out.state.kind = Kind::kRunning;
      out.state.started_at = seconds(newest.started_at);
      break;
    case ContainerState::kExited: {
      out.state = terminated(newest, memory);
      if (!c.ephemeral) out.started = false;
      if (c.broken_off && !ending) {
        out.last_state = out.state;
        out.state = waiting(input, view, memory, c);
        break;
      }
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
  bool again = false;
  for (size_t i = 0; i < s.containers.size(); ++i) {
    const auto& c = s.containers[i];
    const auto& state =
        c.state.kind == Kind::kWaiting && c.last_state.kind == Kind::kTerminated ? c.last_state : c.state;
    if (state.kind == Kind::kRunning) ++running;
    if (state.kind == Kind::kWaiting || state.kind == Kind::kNone) ++waiting;
    if (state.kind != Kind::kTerminated) continue;
    ++stopped;
    succeeded += state.exit_code == 0;
    // One that has been made and not begun is on its way.
    const auto* newest = view.main[i].newest;
    again |= newest == nullptr ? view.restart_policy != "Never"
                               : newest->state != ContainerState::kExited || view.restarts(view.main[i]);
  }
  if (waiting > 0) return "Pending";
  for (const auto& c : view.init) running += c.sidecar && c.running();
  if (running > 0) return "Running";
  if (stopped > 0 && !ending && again) return "Running";
  return stopped == 0 ? "Pending" : stopped == succeeded ? "Succeeded" : "Failed";
}

// All messages of a pod share 12 KiB, each container the same part.
void cut_messages(PodStatusValue& s) {
  const size_t containers = s.init_containers.size() + s.containers.size() + s.ephemeral.size();
  const size_t most = containers == 0 ? kMostMessages : kMostMessages / containers;
  for (auto* list : {&s.init_containers, &s.containers, &s.ephemeral}) {
    for (auto& c : *list) {
      for (auto* state : {&c.state, &c.last_state}) {
        if (state->kind == Kind::kTerminated && state->message.size() > most) state->message.resize(most);
      }
    }
  }
}

// What the pod's readiness gates wait for; "" when all have opened.
std::string closed_gates(const core::Pod& pod) {
  std::vector<std::string> out;
  if (pod.spec()->readiness_gates() == nullptr) return "";
  for (const auto* gate : *pod.spec()->readiness_gates()) {
    std::optional<std::string> status;
    if (pod.status() && pod.status()->conditions()) {
      for (const auto* c : *pod.status()->conditions()) {
        if (str(c->type()) == str(gate->condition_type())) status = str(c->status());
      }
    }
    if (!status) {
      out.push_back(fmt::format("corresponding condition of pod readiness gate \"{}\" does not exist.",
                                str(gate->condition_type())));
    } else if (*status != "True") {
      out.push_back(fmt::format("the status of pod readiness gate \"{}\" is not \"True\", but {}",
                                str(gate->condition_type()), *status));
    }
  }
  return fmt::format("{}", fmt::join(out, ", "));
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
  for (const auto& c : view.ephemeral) s.ephemeral.push_back(container_status(input, view, memory, c, ending));
  cut_messages(s);
  bool stopped = std::none_of(input.runtime->containers.begin(), input.runtime->containers.end(),
                              [](const Container& c) { return c.state == ContainerState::kRunning; });
  s.phase = phase_of(view, s, ending && stopped);
  if (memory.termination && !stopped) {
    // It has failed once nothing of it runs.
    s.phase = memory.last.phase.empty() ? "Pending" : memory.last.phase;
  } else if (memory.termination) {
    s.phase = "Failed";
    s.reason = memory.termination->reason;
    s.message = memory.termination->message;
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
    s.conditions.push_back({type, status, std::move(reason), std::move(message), since, s.observed_generation});
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
  std::string gate_message = ready ? closed_gates(pod) : "";
  condition("Ready", ready && gate_message.empty(), gate_message.empty() ? reason : "ReadinessGatesNotReady",
            gate_message.empty() ? message : gate_message);
  condition("ContainersReady", ready, reason, message);
  condition("PodScheduled", true, "", "");
  if (memory.resize && !over)
    condition(memory.resize->condition.c_str(), true, memory.resize->reason, memory.resize->message);
  if (memory.termination && memory.termination->disruption)
    condition("DisruptionTarget", true, "TerminationByKubelet", memory.termination->message);
  return s;
}

}  // namespace gantry::nodeagent
