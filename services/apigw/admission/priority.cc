// PriorityClasses give pods their priority. Default storage classes live here too: both pick the one default of a kind.
#include <fmt/format.h>

#include "libs/model/workload.h"
#include "schemas/api/core_more_v1_generated.h"
#include "schemas/api/scheduling_v1_generated.h"
#include "services/apigw/admission/admission.h"

namespace gantry::apigw {

using model::str;
namespace core = api::core_v1;
using api::scheduling_v1::PriorityClass;

Status add_priority(AdmissionRequest& a, const model::Object& pod, model::Draft& draft) {
  const auto* spec = pod.as<core::Pod>()->spec();
  if (spec == nullptr) return Done{};
  const std::string_view name = str(spec->priority_class_name());
  const model::Object* found = nullptr;
  model::Object fallback;
  if (!name.empty()) {
    found = a.objects.find_object("priorityclasses", "", name);
    if (found == nullptr) {
      a.unsure.emplace_back("priorityclasses");
      return forbidden(a.kind, pod.name(), fmt::format("no PriorityClass with name {} was found", name));
    }
  } else {
    a.objects.visit_objects("priorityclasses", "", [&](const model::Object& one) {
      const auto* c = one.as<PriorityClass>();
      if (!c->global_default().value_or(false)) return;
      if (!fallback || c->value().value_or(0) < fallback.as<PriorityClass>()->value().value_or(0)) fallback = one;
    });
    if (fallback) found = &fallback;
  }
  const int32_t value = found == nullptr ? 0 : found->as<PriorityClass>()->value().value_or(0);
  std::string policy(found == nullptr ? std::string_view() : str(found->as<PriorityClass>()->preemption_policy()));
  if (policy.empty()) policy = "PreemptLowerPriority";
  if (spec->priority().has_value() && *spec->priority() != value) {
    return forbidden(
        a.kind, pod.name(),
        fmt::format("the integer value of priority ({}) must not be provided in pod spec; priority admission "
                    "controller computed {} from the given PriorityClass name",
                    *spec->priority(), value));
  }
  if (!str(spec->preemption_policy()).empty() && str(spec->preemption_policy()) != policy) {
    return forbidden(a.kind, pod.name(),
                     fmt::format("the string value of PreemptionPolicy ({}) must not be provided in pod spec; priority "
                                 "admission controller computed {} from the given PriorityClass name",
                                 str(spec->preemption_policy()), policy));
  }
  if (name.empty() && found != nullptr) draft.set("spec.priorityClassName", found->name());
  draft.set("spec.priority", value);
  draft.set("spec.preemptionPolicy", policy);
  return Done{};
}

Status check_priority_class(AdmissionRequest& a, const model::Object& object) {
  if (a.kind.resource != "priorityclasses") return Done{};
  if (!object.as<PriorityClass>()->global_default().value_or(false)) return Done{};
  std::string other;
  a.objects.visit_objects("priorityclasses", "", [&](const model::Object& one) {
    if (one.as<PriorityClass>()->global_default().value_or(false) && one.name() != object.name()) other = one.name();
  });
  if (other.empty()) return Done{};
  a.unsure.emplace_back("priorityclasses");
  return forbidden(a.kind, object.name(),
                   fmt::format("PriorityClass {} is already marked as default. Only one default can exist", other));
}

void add_default_storage_class(AdmissionRequest& a, const model::Object& claim, model::Draft& draft) {
  const auto* spec = claim.as<core::PersistentVolumeClaim>()->spec();
  if (spec == nullptr || spec->storage_class_name() != nullptr) return;
  if (claim.meta() != nullptr &&
      model::lookup(claim.meta()->annotations(), "volume.beta.kubernetes.io/storage-class") != nullptr)
    return;
  // The newest; of those of one second the first by name.
  model::Object best;
  a.objects.visit_objects("storageclasses", "", [&](const model::Object& one) {
    if (model::annotation(one.meta(), "storageclass.kubernetes.io/is-default-class") != "true") return;
    if (!best || model::created_at(one.meta()) > model::created_at(best.meta())) best = one;
  });
  if (best) draft.set("spec.storageClassName", best.name());
}

}  // namespace gantry::apigw
