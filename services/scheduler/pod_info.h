// What the scheduler needs to know of a pod, computed once.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "libs/model/object.h"
#include "services/scheduler/neighbors.h"

namespace gantry::scheduler {

struct Resources {
  int64_t cpu = 0;     // milli
  int64_t memory = 0;  // bytes
  int64_t ephemeral = 0;
  std::vector<std::pair<std::string, int64_t>> extended;  // sorted by name; e.g. nvidia.com/gpu

  int64_t extended_amount(std::string_view name) const;
  void add(const Resources& other);
  void subtract(const Resources& other);
  void raise_to(const Resources& other);  // the larger of each
};

struct HostPort {
  std::string ip;  // "0.0.0.0" when the pod does not say
  std::string protocol;
  int32_t port = 0;
  /// The same port of the same protocol on an address in common.
  bool conflicts(const HostPort& other) const;
};

struct PodInfo {
  std::string key;  // "<namespace>/<name>"
  model::Object object;
  Resources requests;
  int64_t scored_cpu = 0, scored_memory = 0;  // with Kubernetes' defaults for containers without requests
  std::vector<HostPort> ports;
  std::vector<std::string> claims;  // that its volumes stand for, by name
  std::string owner;                // uid of the controller, "" without
  int32_t priority = 0;
  bool preempts = true;                        // others of lower priority
  std::shared_ptr<const Neighbors> neighbors;  // null: it asks nothing of other pods
  uint64_t shape = 0;                          // equal for pods that every filter treats alike
  uint64_t shape_among_others = 0;  // the same where pods that run refuse others by their namespace and labels
};

/// The larger of what its containers need at once and what an init container needs, and the overhead.
Resources pod_requests(const api::core_v1::PodSpec& spec);
PodInfo describe(const model::Object& pod);
/// Waiting for this scheduler: no node, not ended or ending, no scheduling gates, its schedulerName.
bool wants_node(const model::Object& pod, std::string_view scheduler_name);
/// Takes room on its node.
bool occupies(const model::Object& pod);

}  // namespace gantry::scheduler
