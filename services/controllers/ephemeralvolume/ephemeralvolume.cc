#include "services/controllers/ephemeralvolume/ephemeralvolume.h"

#include "libs/model/draft.h"
#include "libs/model/workload.h"
#include "schemas/api/core_more_v1_generated.h"
#include "services/controllers/framework/claim.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {

namespace core = api::core_v1;
using model::str;

namespace {

bool brings_claims(const model::Object& pod) {
  const auto* spec = pod.as<core::Pod>()->spec();
  if (spec == nullptr || spec->volumes() == nullptr) return false;
  return std::any_of(spec->volumes()->begin(), spec->volumes()->end(),
                     [](const auto* v) { return v->ephemeral() != nullptr; });
}

bool owned(const model::Object& claim, const model::Object& pod) {
  const auto* owner = model::controller_of(claim.meta());
  return owner != nullptr && str(owner->uid()) == pod.uid();
}

}  // namespace

void EphemeralVolumeController::setup(View& view) {
  view.need("pods");
  view.need("persistentvolumeclaims");
}

void EphemeralVolumeController::keys_for(const View&, std::string_view resource, const projection::Change& change,
                                         std::vector<std::string>& keys) const {
  if (resource == "pods") {
    if (change.after && brings_claims(change.after)) keys.push_back(make_key(change.after));
    return;
  }
  if (change.after) return;
  const auto* owner = model::controller_of(change.before.meta());
  if (owner != nullptr && str(owner->kind()) == "Pod") keys.push_back(make_key(change.before.ns(), str(owner->name())));
}

Decision EphemeralVolumeController::decide(const View& view, const std::string& key, WallMicros,
                                           const Memory& memory) const {
  Decision decision;
  const model::Object* pod = view.find("pods", key);
  if (pod == nullptr || !model::pod_active(*pod->as<core::Pod>()) || !brings_claims(*pod)) return decision;
  for (const Answer& answer : memory.answers) {
    if (!answer.result.ok() && answer.result.code() == Code::kAlreadyExists) return decision;  // the view will show it
  }
  for (const auto* v : *pod->as<core::Pod>()->spec()->volumes()) {
    if (v->ephemeral() == nullptr || v->ephemeral()->volume_claim_template() == nullptr) continue;
    const std::string name = fmt::format("{}-{}", pod->name(), str(v->name()));
    if (const model::Object* there = view.find("persistentvolumeclaims", pod->ns(), name)) {
      if (!owned(*there, *pod)) {
        decision.notes.push_back(
            {*pod, "Warning", "FailedBinding",
             fmt::format("ephemeral volume {}: PVC {} was not created for the pod", str(v->name()), name)});
      }
      continue;
    }
    const auto& made_from = *v->ephemeral()->volume_claim_template();
    const model::Kind& kind = *model::Schema::get().by_resource("persistentvolumeclaims");
    model::Draft claim(kind);
    if (made_from.metadata() != nullptr) claim.copy("metadata", made_from.metadata());
    claim.copy("spec", made_from.spec());
    claim.set("metadata.name", name);
    claim.set("metadata.namespace", pod->ns());
    decision.add(create(kind, pod->ns(), with_controller(claim.build(), *pod)));
  }
  return decision;
}

}  // namespace gantry::controllers
