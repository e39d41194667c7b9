// Fields that nothing acts on yet, although their kind has an effect: objects that need them are refused, as kinds are
// by the attribute `refuses` of their schema.
#include <fmt/format.h>

#include "libs/model/walk.h"
#include "libs/model/workload.h"
#include "services/apigw/admission/admission.h"

namespace gantry::apigw {
namespace {

constexpr const char* kDevices = "spec.resourceClaims: the scheduler does not allocate devices yet";

struct Inert {
  std::string_view resource, path;
  const char* why;
};

constexpr Inert kInert[] = {
    {"persistentvolumeclaims", "spec.volumeAttributesClassName",
     "spec.volumeAttributesClassName: volumes are not made or modified by attribute classes yet"},
    {"persistentvolumeclaims", "spec.dataSource.kind", "spec.dataSource: volumes are not filled from others yet"},
    {"persistentvolumeclaims", "spec.dataSourceRef.kind", "spec.dataSourceRef: volumes are not filled from others yet"},
};

/// Nobody could make the pods: the workload is refused rather than left to fail without end.
std::string devices_path(std::string_view resource) {
  if (resource == "pods") return "spec.resourceClaims[0].name";
  const auto path = model::pod_template_path(resource);
  return path.empty() ? "" : fmt::format("{}.spec.resourceClaims[0].name", path);
}

/// What has it already may keep it.
bool newly_has(const AdmissionRequest& a, const model::Object& object, std::string_view path) {
  return !path.empty() && !model::text_at(object, path).empty() &&
         (a.creates() || model::text_at(a.before, path).empty());
}

}  // namespace

Status check_inert_fields(AdmissionRequest& a, const model::Object& object) {
  if (!a.subresource.empty()) return Done{};
  for (const Inert& one : kInert) {
    if (a.kind.resource == one.resource && newly_has(a, object, one.path)) {
      return forbidden(a.kind, object.name(), one.why);
    }
  }
  if (newly_has(a, object, devices_path(a.kind.resource))) return forbidden(a.kind, object.name(), kDevices);
  return Done{};
}

}  // namespace gantry::apigw
