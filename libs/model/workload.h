// What Kubernetes means by a pod that is ready, available, active or tolerant, and by an object's controller. Shared by
// controllers, scheduler, agent and proxy. Pure functions, thread-safe.
#pragma once

#include <cstdint>
#include <string_view>

#include "libs/model/object.h"
#include "schemas/api/core_v1_generated.h"
#include "schemas/api/meta_v1_generated.h"

namespace gantry::model {

/// Where the template of its pods stands in a workload ("spec.template"), as libs/model/walk.h takes it; "": it has
/// none.
std::string_view pod_template_path(std::string_view resource);

/// The owner reference with controller=true, or nullptr.
const api::meta_v1::OwnerReference* controller_of(const api::meta_v1::ObjectMeta* meta);
bool is_deleting(const api::meta_v1::ObjectMeta* meta);
bool has_finalizer(const api::meta_v1::ObjectMeta* meta, std::string_view finalizer);
/// As unix seconds, 0 when absent.
int64_t created_at(const api::meta_v1::ObjectMeta* meta);
/// The annotation's value, "" when absent.
std::string_view annotation(const api::meta_v1::ObjectMeta* meta, std::string_view key);
std::string_view label(const api::meta_v1::ObjectMeta* meta, std::string_view key);

const api::core_v1::PodCondition* condition(const api::core_v1::Pod& pod, std::string_view type);
const api::core_v1::NodeCondition* condition(const api::core_v1::Node& node, std::string_view type);

/// Phase Succeeded or Failed: it never runs again.
bool pod_terminal(const api::core_v1::Pod& pod);
/// Neither terminal nor being deleted: what a ReplicaSet counts.
bool pod_active(const api::core_v1::Pod& pod);
bool pod_ready(const api::core_v1::Pod& pod);
/// Ready for at least `min_ready_seconds` at `now` (unix seconds).
bool pod_available(const api::core_v1::Pod& pod, int32_t min_ready_seconds, int64_t now);
bool node_ready(const api::core_v1::Node& node);

/// `effect` and `key` rules of Kubernetes: an empty key with Exists tolerates every taint, an empty effect every
/// effect.
bool tolerates(const api::core_v1::Toleration& toleration, const api::core_v1::Taint& taint);
/// The first toleration of `pod` for `taint`, or nullptr.
const api::core_v1::Toleration* toleration_for(const api::core_v1::PodSpec* spec, const api::core_v1::Taint& taint);

}  // namespace gantry::model
