// Taints that follow from a node's conditions, and what NoExecute taints mean for pods. Pure functions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libs/model/object.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::controllers {

inline constexpr const char* kUnreachable = "node.kubernetes.io/unreachable";
inline constexpr const char* kNotReady = "node.kubernetes.io/not-ready";

struct TaintValue {
  std::string key, value, effect;
  std::optional<int64_t> added;  // unix seconds
  bool operator==(const TaintValue&) const = default;
};

std::vector<TaintValue> taints_of(const api::core_v1::Node& node);
/// The taints that the node should have: those of others as they are, ours by its conditions. `execute`: whether pods
/// may be evicted for them. NoExecute taints without a time get `now`.
std::vector<TaintValue> desired_taints(const api::core_v1::Node& node, bool execute, int64_t now);

/// When a pod must go because of NoExecute taints (unix seconds, 0 = at once); nullopt: it may stay. `counts` says
/// which taints count.
std::optional<int64_t> eviction_time(const api::core_v1::Pod& pod, const api::core_v1::Node& node,
                                     const std::function<bool(std::string_view key)>& counts);

}  // namespace gantry::controllers
