// What the agent remembers of one pod between decisions. Nothing here must survive the agent: what must, is in the
// runtime or in the API.
#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <string>

#include "libs/base/loop.h"
#include "services/nodeagent/pod/status_value.h"

namespace gantry::nodeagent {

/// Why something did not happen, and when to try again: 10 s, doubled with each failure, up to 5 minutes. A failure
/// after a success starts anew.
struct Failure {
  std::string reason, message;
  int times = 0;
  WallMicros retry_at = 0;
  bool told = false;  // the event for this wait

  static constexpr int64_t kFirstSeconds = 10, kMostSeconds = 300;
  static int64_t delay_seconds(int times) {
    return std::min<int64_t>(kMostSeconds, kFirstSeconds << std::clamp(times - 1, 0, 5));
  }
  /// For a moment it shows as what failed, from here on as waiting for the next try.
  WallMicros backing_off_at() const { return retry_at - (delay_seconds(times) - 2) * 1'000'000; }
  void fail(std::string new_reason, std::string new_message, WallMicros now) {
    reason = std::move(new_reason);
    message = std::move(new_message);
    ++times;
    told = false;
    retry_at = now + delay_seconds(times) * 1'000'000;
  }
  /// Of an end: what nobody wants any more goes as soon as it can, so 1 s, doubled up to 16 s. A runtime that is `away`
  /// has refused nothing.
  void fail_ending(std::string new_reason, std::string new_message, WallMicros now, bool away) {
    fail(std::move(new_reason), std::move(new_message), now);
    if (away) times = 0;
    retry_at = now + (int64_t{1} << std::clamp(times - 1, 0, 4)) * 1'000'000;
  }
};

/// CrashLoopBackOff of one container: the first restart at once, then 10 s doubled up to 5 minutes, forgotten after a
/// run of 10 minutes.
struct CrashBackoff {
  std::string seen;   // id of the last container whose end was counted
  int64_t delay = 0;  // seconds before the restart after `seen`
  WallMicros until = 0;
  bool told = false;  // the event for this wait
};

/// What the probes say of one container, by its id. Containers without a probe of a kind count as passing.
struct ProbeResults {
  bool started = false, ready = false, live = true;
  std::string failure;  // of the liveness or startup probe
};

/// The end of one container, from the moment it was decided.
struct StopPlan {
  WallMicros since = 0, deadline = 0;  // SIGKILL at the latest; only ever moved nearer
  bool hook_done = false;              // preStop has run, or was given up
  WallMicros asked = 0;                // the deadline that the runtime was told last; 0: not yet
};

/// Why a pod ends before its own time: an eviction, the node's shutdown. Such a pod has Failed, whatever its containers
/// say.
struct Termination {
  std::string reason, message;
  std::optional<int64_t> grace_seconds;  // instead of the pod's own
  bool disruption = true;                // tells so in the condition DisruptionTarget
};

struct PodMemory {
  /// Actions under way, by Action::key.
  std::set<std::string> in_flight;
  /// Those launches that have not asked the runtime for a container yet (a pull may take long): an end does not wait
  /// for them, and they look at `ending` before they go on.
  std::set<std::string> uncreated;
  bool ending = false;
  bool prepared = false, released = false, cleaned = false;
  std::optional<Failure> prepare_failure, sandbox_failure, confirm_failure;
  std::map<std::string, Failure> launch_failures;           // by container name
  std::map<std::string, Failure> stop_failures;             // by id
  std::map<std::string, CrashBackoff> crashes;              // by container name
  std::map<std::string, ProbeResults> probes;               // by container id
  std::map<std::string, std::string> termination_messages;  // by container id
  /// Containers whose start was seen to fail. One that did not start without our having seen it was broken off by a
  /// crash: it has not run, so it is started again whatever the policy says.
  std::set<std::string> failed_starts;
  std::map<std::string, StopPlan> stops;             // by container id
  std::set<std::string> hooking;                     // container ids whose postStart hook has not ended
  std::map<std::string, std::string> hook_failures;  // by container id: what its postStart hook said
  std::set<std::string> stopped_sandboxes;
  std::set<std::string> oom_killed;  // container ids
  std::map<std::string, uint32_t> next_attempts;
  /// Requests and limits that a container has while they are not those of the spec, by its name.
  std::map<std::string, std::pair<ResourceList, ResourceList>> actual_resources;
  /// Of a resize that is wanted: PodResizePending or PodResizeInProgress, why, and more words.
  struct Resize {
    std::string condition, reason, message;
  };
  std::optional<Resize> resize;
  std::vector<std::string> pod_ips;
  std::optional<PodStatusValue> frozen;  // final: containers may go from the runtime now
  PodStatusValue last;                   // as decided last, or as the API had it
  bool terminal = false;                 // never to run again
  std::optional<Termination> termination;
};

}  // namespace gantry::nodeagent
