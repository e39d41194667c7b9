// Fields that nothing acts on yet, although their kind has an effect: objects that need them are refused, as kinds are
// by the attribute `refuses` of their schema.
#include <fmt/format.h>

#include "libs/model/walk.h"
#include "services/apigw/admission/admission.h"

namespace gantry::apigw {
namespace {

struct Inert {
  std::string_view resource, path;
  const char* why;
};

constexpr Inert kInert[] = {
    {"pods", "spec.resourceClaims[0].name", "spec.resourceClaims: the scheduler does not allocate devices yet"},
    {"persistentvolumeclaims", "spec.volumeAttributesClassName",
     "spec.volumeAttributesClassName: volumes are not made or modified by attribute classes yet"},
};

}  // namespace

Status check_inert_fields(AdmissionRequest& a, const model::Object& object) {
  if (!a.subresource.empty()) return Done{};
  for (const Inert& one : kInert) {
    if (a.kind.resource != one.resource || model::text_at(object, one.path).empty()) continue;
    // What has it already may keep it.
    if (!a.creates() && !model::text_at(a.before, one.path).empty()) continue;
    return forbidden(a.kind, object.name(), one.why);
  }
  return Done{};
}

}  // namespace gantry::apigw
