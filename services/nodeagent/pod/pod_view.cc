#include "services/nodeagent/pod/pod_view.h"

namespace gantry::nodeagent {

using model::str;

namespace {

ContainerView view_container(const core::Container& spec, bool init, const PodInput& input, const Sandbox* sandbox,
                             const PodMemory& memory) {
  ContainerView c;
  c.spec = &spec;
  c.name = str(spec.name());
  c.init = init;
  c.sidecar = init && is_sidecar(spec);
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
  if (c.running()) {
    auto probes = memory.probes.find(c.current->id);
    const ProbeResults* results = probes == memory.probes.end() ? nullptr : &probes->second;
    c.started = spec.startup_probe() == nullptr || (results && results->started);
    c.ready = c.started && (spec.readiness_probe() == nullptr || (results && results->ready));
  }
  return c;
}

}  // namespace

bool PodView::restarts(const ContainerView& c) const {
  if (c.sidecar) return true;
  if (c.init) return restart_policy != "Never" && c.exited() && c.current->exit_code != 0;
  if (restart_policy == "Always") return true;
  return restart_policy == "OnFailure" && c.newest && c.newest->exit_code != 0;
}

bool PodView::over() const {
  if (init_failed) return true;
  if (restart_policy == "Always" || main.empty()) return false;
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
      view.init.push_back(view_container(*c, true, input, view.sandbox, memory));
  }
  if (spec.containers()) {
    for (const auto* c : *spec.containers())
      view.main.push_back(view_container(*c, false, input, view.sandbox, memory));
  }
  // Once a main container was made in this sandbox, initialization is over, whatever became of its containers since.
  view.initialized =
      std::any_of(view.main.begin(), view.main.end(), [](const ContainerView& c) { return c.current != nullptr; });
  if (view.initialized) return view;
  for (const auto& c : view.init) {
    if (c.sidecar ? c.started : c.succeeded()) continue;
    view.init_next = &c;
    view.init_failed = !c.sidecar && c.exited() && view.restart_policy == "Never";
    return view;
  }
  view.initialized = true;
  return view;
}

}  // namespace gantry::nodeagent
