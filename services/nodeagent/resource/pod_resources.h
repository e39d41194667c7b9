// What a pod asks for and may use at most, and what that means to the kernel. Pure functions.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "libs/model/qos.h"
#include "libs/model/quantity.h"
#include "schemas/api/core_v1_generated.h"
#include "services/nodeagent/runtime/runtime.h"

namespace gantry::nodeagent {

namespace core = api::core_v1;

using Amounts = std::map<std::string, model::Quantity, std::less<>>;
using ResourceEntries = flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>;

/// What cannot be read counts as not said.
Amounts amounts(const ResourceEntries* entries);
/// As the cpu's thousandths, or everything else's whole units; nothing when not said.
std::optional<int64_t> amount(const Amounts& list, std::string_view resource);

/// Of the whole pod: its containers together, or the most that initialization takes, what the pod itself says, and its
/// runtime class's overhead. A limit is only there when every container has one.
struct PodResources {
  Amounts requests, limits;
};
PodResources pod_resources(const core::PodSpec& spec);

using model::pod_qos;
using model::Qos;
using model::qos_name;

inline constexpr int64_t kCpuPeriod = 100'000;  // microseconds

/// Shares, quota and limits as the kernel is told them, on cgroup v1's scale. `memory_bytes`: the node's, for the score
/// by which the kernel chooses whom to kill.
Resources container_resources(const core::PodSpec& spec, const core::Container& container, int64_t memory_bytes);
/// The same of the pod's own cgroup.
Resources pod_cgroup_resources(const core::PodSpec& spec);

/// -997 for Guaranteed, 1000 for BestEffort, between them less the more memory was asked for. Pods of a
/// system-node-critical priority are never chosen.
int64_t oom_score_adj(const core::PodSpec& spec, const core::Container& container, int64_t memory_bytes);

int64_t cpu_shares(int64_t milli);
int64_t cpu_quota(int64_t milli);
/// cgroup v2's weight for v1's shares.
int64_t cpu_weight(int64_t shares);

}  // namespace gantry::nodeagent
