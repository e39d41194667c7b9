#include "services/controllers/framework/pods.h"

#include "libs/model/schema.h"
#include "libs/model/workload.h"

namespace gantry::controllers {

using api::core_v1::Pod;

model::Draft pod_from_template(const model::Object& owner, const api::core_v1::PodTemplateSpec* pod_template) {
  static const model::Kind& kind = *model::Schema::get().by_resource("pods");
  model::Draft pod(kind);
  pod.set("metadata.namespace", owner.ns());
  if (pod_template != nullptr && pod_template->metadata() != nullptr) {
    const auto* source = reinterpret_cast<const flatbuffers::Table*>(pod_template->metadata());
    for (const char* field : {"labels", "annotations", "finalizers"}) pod.copy_field("metadata", field, source);
  }
  pod.set("metadata.ownerReferences[+].apiVersion", owner.kind().api_version());
  pod.set("metadata.ownerReferences[0].kind", owner.kind().kind);
  pod.set("metadata.ownerReferences[0].name", owner.name());
  pod.set("metadata.ownerReferences[0].uid", owner.uid());
  pod.set("metadata.ownerReferences[0].controller", true);
  pod.set("metadata.ownerReferences[0].blockOwnerDeletion", true);
  if (pod_template != nullptr) pod.copy("spec", pod_template->spec());
  return pod;
}

std::string name_prefix(std::string_view base, std::string_view infix) {
  constexpr size_t kMost = 63 - 5;
  std::string tail = infix.empty() ? "-" : fmt::format("-{}-", infix);
  return std::string(base.substr(0, kMost - std::min(kMost, tail.size()))) + tail;
}

int64_t pod_finished_at(const model::Object& object) {
  const Pod& pod = *object.as<Pod>();
  int64_t last = 0;
  if (pod.status() != nullptr && pod.status()->container_statuses() != nullptr) {
    for (const auto* status : *pod.status()->container_statuses()) {
      const auto* ended = status->state() == nullptr ? nullptr : status->state()->terminated();
      if (ended != nullptr) last = std::max(last, ended->finished_at().value_or(0));
    }
  }
  if (last > 0) return last;
  const auto* ready = model::condition(pod, "Ready");
  if (ready != nullptr && model::str(ready->status()) == "False" && ready->last_transition_time().value_or(0) > 0)
    return *ready->last_transition_time();
  if (const auto at = object.meta()->deletion_timestamp())
    return *at - object.meta()->deletion_grace_period_seconds().value_or(0);
  return model::created_at(object.meta());
}

}  // namespace gantry::controllers
