// One pod's containers as the decision and the status both see them: what the spec asks for beside the newest that the
// runtime has.
#pragma once

#include <vector>

#include "services/nodeagent/pod/pod_machine.h"

namespace gantry::nodeagent {

struct ContainerView {
  const core::Container* spec = nullptr;
  std::string name;
  bool init = false, sidecar = false, ephemeral = false;
  const Container* newest = nullptr;    // in any sandbox
  const Container* current = nullptr;   // newest, if it is in the current sandbox
  const Container* previous = nullptr;  // the one before newest
  bool broken_off = false;              // newest never ran: a crash came between
  bool started = false, ready = false;  // of current, by state and probes

  bool running() const { return current && current->state == ContainerState::kRunning; }
  bool exited() const { return current && current->state == ContainerState::kExited; }
  bool succeeded() const { return exited() && current->exit_code == 0; }
};

struct PodView {
  const Sandbox* sandbox = nullptr;  // the newest that is ready
  std::vector<ContainerView> init, main, ephemeral;
  std::string restart_policy = "Always";
  bool initialized = false;                  // every init container is done (a sidecar: has started)
  const ContainerView* init_next = nullptr;  // the init container that is due, when not initialized
  bool init_failed = false;                  // and never to be tried again

  /// After its last end: by its own rules, else its own policy, else the pod's.
  bool restarts(const ContainerView& c) const;
  /// Nothing runs and nothing will: the pod has Succeeded or Failed.
  bool over() const;
};

PodView view_pod(const PodInput& input, const PodMemory& memory);

/// The status that follows. Transition times are taken from memory.last where nothing changed.
PodStatusValue derive_status(const PodInput& input, const PodView& view, const PodMemory& memory);

}  // namespace gantry::nodeagent
