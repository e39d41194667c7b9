// The heart of the agent: what to do for one pod, given what is wanted and what runs. Pure: no I/O, no clock.
//
// It is asked again after every change (of the pod, of the runtime, of an action's outcome, at requeue_at) and always
// decides from scratch, so that it does not matter what was lost or who acted before: an agent that has just started
// adopts what it finds.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "services/nodeagent/pod/pod_memory.h"
#include "services/nodeagent/pod/status_value.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

struct PodInput {
  const core::Pod* pod = nullptr;  // the last that was seen; null for what only the runtime knows
  bool desired = true;             // false: gone from the API
  const RuntimePod* runtime = nullptr;
  std::vector<std::string> host_ips;
  WallMicros now = 0;
};

struct Action {
  enum class Kind : uint8_t {
    kPrepare,          // directories and volumes
    kRunSandbox,       // attempt
    kStopSandbox,      // id
    kRemoveSandbox,    // id, with its containers
    kLaunch,           // container, attempt, id = sandbox: image, create, start
    kStart,            // id: created but never started
    kPreStop,          // id, container, grace: its hook, before the stop
    kStopContainer,    // id, container, grace
    kRemoveContainer,  // id
    kRelease,          // volumes and cgroup, when nothing runs any more: the pod itself stays to be looked at
    kCleanup,          // directories and volumes, when nothing is left in the runtime
    kConfirmDelete,    // tell the API that nothing is left
  };
  Kind kind;
  std::string key;  // no second action with this key while one is under way
  std::string id, container;
  uint32_t attempt = 0;
  int64_t grace_seconds = 0;
};

struct Note {  // an Event about the pod
  bool warning = false;
  std::string reason, message, container;
};

struct Decision {
  std::vector<Action> actions;
  PodStatusValue status;
  std::vector<Note> notes;
  std::optional<WallMicros> requeue_at;
  bool finished = false;  // nothing of the pod is left here, and it is not wanted: forget it
};

Decision decide(const PodInput& input, PodMemory& memory);

/// True for an init container that runs beside the others (restartPolicy: Always).
bool is_sidecar(const core::Container& container);
/// Its fields are those of a container, and mean the same but for what an ephemeral container may not have.
const core::Container& as_container(const core::EphemeralContainer& container);
/// The container of that name, of whichever kind; null when there is none.
const core::Container* find_container(const core::PodSpec& spec, std::string_view name);
/// The seconds that its containers get to end: of the deletion, else of the spec, else what the runtime was told,
/// else 30.
int64_t grace_seconds(const PodInput& input);

}  // namespace gantry::nodeagent
