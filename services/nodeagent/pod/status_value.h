// A pod's status as plain values: what the agent decides on, compares and reports.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "libs/model/object.h"
#include "schemas/api/core_v1_generated.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

namespace core = api::core_v1;

/// Times are unix seconds; 0 is absent.
struct ContainerStateValue {
  enum class Kind : uint8_t { kNone, kWaiting, kRunning, kTerminated };
  Kind kind = Kind::kNone;
  std::string reason, message;
  int exit_code = 0;
  int64_t started_at = 0, finished_at = 0;
  std::string container_id;
  bool operator==(const ContainerStateValue&) const = default;
};

using ResourceList = std::vector<std::pair<std::string, std::string>>;  // sorted by name
struct MountStatusValue {
  std::string name, path, recursive;  // "" where it is not read-only
  bool readonly = false;
  bool operator==(const MountStatusValue&) const = default;
};

struct ContainerStatusValue {
  std::string name, image, image_id, container_id;
  std::string stop_signal;  // where the pod says it
  ContainerStateValue state, last_state;
  bool ready = false;
  std::optional<bool> started;
  int restart_count = 0;
  /// Of a container that was made: what it was given, and what it has.
  bool has_resources = false;
  ResourceList allocated, requests, limits;
  std::vector<MountStatusValue> mounts;
  std::optional<ContainerUser> user;  // where the runtime tells it
  bool operator==(const ContainerStatusValue&) const = default;
};

struct ConditionValue {
  std::string type;
  bool status = false;
  std::string reason, message;
  int64_t transition = 0, observed_generation = 0;
  bool operator==(const ConditionValue&) const = default;
};

struct PodStatusValue {
  std::string phase, reason, message, qos_class;
  std::vector<std::string> host_ips, pod_ips;
  int64_t start_time = 0, observed_generation = 0;
  std::vector<ConditionValue> conditions;
  std::vector<ContainerStatusValue> init_containers, containers, ephemeral;
  bool operator==(const PodStatusValue&) const = default;
};

/// A Pod with its identity (name, namespace, uid) and this status, for an update of the status subresource. What others
/// own (their conditions, resource claims, the nomination) is taken over from `current`, which may be null.
model::Bytes encode_status(std::string_view ns, std::string_view name, std::string_view uid,
                           const PodStatusValue& status, const core::Pod* current);

/// What the API has of a pod's status: the start for an agent that knows nothing yet.
PodStatusValue decode_status(const core::Pod& pod);

/// As the spec says it.
ResourceList resource_list(const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* map);

/// Guaranteed, Burstable or BestEffort, by the containers' resources.
std::string qos_class(const core::PodSpec& spec);

}  // namespace gantry::nodeagent
