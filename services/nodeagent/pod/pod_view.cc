#include "services/nodeagent/pod/pod_view.h"

#include <algorithm>

namespace gantry::nodeagent {

using model::str;

namespace {

enum class Role : uint8_t { kInit, kMain, kEphemeral };

ContainerView view_container(const core::Container& spec, Role role, const PodInput& input, const Sandbox* sandbox,
                             const PodMemory& memory) {
  ContainerView c;
  c.spec = &spec;
  c.name = str(spec.name());
  c.init = role == Role::kInit;
  c.ephemeral = role == Role::kEphemeral;
  c.sidecar = c.init && is_sidecar(spec);
  for (const auto& container : input.runtime->containers) {
    if (container.name != c.name) continue;
    if (c.newest == nullptr) {
      c.newest = &container;
    } else {
      c.previous = &container;
      break;
    }
  }
  if (c.newest && sandbox && c.newest->sandbox_id == sandbox->id) c.current = c.newest;
  c.broken_off = c.newest && c.newest->state == ContainerState::kExited && c.newest->reason == "StartError" &&
                 c.newest->started_at == 0 && memory.failed_starts.count(c.newest->id) == 0;
  if (c.running() && memory.hooking.count(c.current->id) == 0) {
    auto probes = memory.probes.find(c.current->id);
    const ProbeResults* results = probes == memory.probes.end() ? nullptr : &probes->second;
    c.started = spec.startup_probe() == nullptr || (results && results->started);
    c.ready = c.started && (spec.readiness_probe() == nullptr || (results && results->ready));
  }
  return c;
}

bool matches_restart_rule(const core::Container& spec, int exit_code) {
  if (spec.restart_policy_rules() == nullptr) return false;
  for (const auto* rule : *spec.restart_policy_rules()) {
    const auto* codes = rule->exit_codes();
    if (codes == nullptr) continue;
    const auto* values = codes->values();
    const bool listed = values != nullptr && std::find(values->begin(), values->end(), exit_code) != values->end();
    // The first rule that matches decides, and Restart is all that a rule can say.
    if (str(codes->operator_()) == "In" ? listed : str(codes->operator_()) == "NotIn" && !listed)
      return str(rule->action()) == "Restart";
  }
  return false;
}

}  // namespace

bool PodView::restarts(const ContainerView& c) const {
  if (c.sidecar || c.broken_off) return true;
  if (c.ephemeral || c.newest == nullptr) return false;
  const int code = c.newest->exit_code;
  if (c.init && code == 0) return false;
  if (matches_restart_rule(*c.spec, code)) return true;
  auto policy = str(c.spec->restart_policy());
  if (policy.empty()) policy = restart_policy;
  return policy == "Always" || (policy == "OnFailure" && code != 0);
}

bool PodView::over() const {
  if (init_failed) return true;
  if (main.empty()) return false;
  return std::all_of(main.begin(), main.end(), [&](const ContainerView& c) {
    return c.newest && c.newest->state == ContainerState::kExited && !restarts(c);
  });
}

PodView view_pod(const PodInput& input, const PodMemory& memory) {
  PodView view;
  for (const auto& sandbox : input.runtime->sandboxes) {
    if (sandbox.ready && !memory.stopped_sandboxes.count(sandbox.id)) {
      view.sandbox = &sandbox;
      break;
    }
  }
  if (input.pod == nullptr || input.pod->spec() == nullptr) return view;
  const auto& spec = *input.pod->spec();
  if (!str(spec.restart_policy()).empty()) view.restart_policy = str(spec.restart_policy());
  if (spec.init_containers()) {
    for (const auto* c : *spec.init_containers())
      view.init.push_back(view_container(*c, Role::kInit, input, view.sandbox, memory));
  }
  if (spec.containers()) {
    for (const auto* c : *spec.containers())
      view.main.push_back(view_container(*c, Role::kMain, input, view.sandbox, memory));
  }
  if (spec.ephemeral_containers()) {
    for (const auto* c : *spec.ephemeral_containers())
      view.ephemeral.push_back(view_container(as_container(*c), Role::kEphemeral, input, view.sandbox, memory));
  }
  // Once a main container was made in this sandbox, initialization is over, whatever became of its containers since.
  view.initialized =
      std::any_of(view.main.begin(), view.main.end(), [](const ContainerView& c) { return c.current != nullptr; });
  if (view.initialized) return view;
  for (const auto& c : view.init) {
    if (c.sidecar ? c.started : c.succeeded()) continue;
    view.init_next = &c;
    view.init_failed = !c.sidecar && c.exited() && !view.restarts(c);
    return view;
  }
  view.initialized = true;
  return view;
}

}  // namespace gantry::nodeagent
