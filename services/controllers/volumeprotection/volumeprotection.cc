#include "services/controllers/volumeprotection/volumeprotection.h"

#include <nlohmann/json.hpp>

#include "libs/model/workload.h"
#include "schemas/api/core_more_v1_generated.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {

namespace core = api::core_v1;
using model::str;
using nlohmann::json;

namespace {

constexpr std::string_view kClaimKey = "claim:", kVolumeKey = "volume:";
constexpr const char *kClaimFinalizer = "kubernetes.io/pvc-protection",
                     *kVolumeFinalizer = "kubernetes.io/pv-protection";
constexpr const char* kByClaim = "protected-claim";
constexpr WallMicros kLookAgain = 10'000'000;

/// The claims of a pod that has a node: before that no volume of it is in use.
void claims_of(const model::Object& pod, std::vector<std::string>& claims) {
  const auto* spec = pod.as<core::Pod>()->spec();
  if (spec == nullptr || str(spec->node_name()).empty() || spec->volumes() == nullptr) return;
  for (const auto* v : *spec->volumes()) {
    if (v->persistent_volume_claim() != nullptr)
      claims.push_back(make_key(pod.ns(), str(v->persistent_volume_claim()->claim_name())));
    if (v->ephemeral() != nullptr)
      claims.push_back(make_key(pod.ns(), fmt::format("{}-{}", pod.name(), str(v->name()))));
  }
}

bus::Command set_finalizer(const model::Object& object, const char* finalizer, bool present) {
  json finalizers = json::array();
  if (object.meta()->finalizers() != nullptr) {
    for (const auto* f : *object.meta()->finalizers()) {
      if (str(f) != finalizer) finalizers.push_back(std::string(str(f)));
    }
  }
  if (present) finalizers.push_back(finalizer);
  auto command = patch(object, json{{"metadata", {{"finalizers", std::move(finalizers)}}}}.dump());
  command.revision = object.revision();
  return command;
}

bool uses(const model::Object& pod, const std::string& claim) {
  std::vector<std::string> claims;
  claims_of(pod, claims);
  return std::find(claims.begin(), claims.end(), claim) != claims.end();
}

void release_claim(const View& view, const model::Object& claim, WallMicros now, const Memory& memory,
                   Decision& decision) {
  const std::string key = make_key(claim);
  bool in_use = false;
  view.each_by("pods", kByClaim, key, [&](const model::Object&) { in_use = true; });
  if (in_use) return;  // the pod's end wakes this
  // A volume may be on its way: the binder takes the annotation away, or binds the claim.
  const auto* spec = claim.as<core::PersistentVolumeClaim>()->spec();
  if (spec != nullptr && str(spec->volume_name()).empty() &&
      !model::annotation(claim.meta(), "volume.kubernetes.io/storage-provisioner").empty())
    return;
  for (const Answer& answer : memory.answers) {
    if (answer.command.verb != bus::Verb::List || !answer.result.ok()) continue;
    const model::Kind& kind = *model::Schema::get().by_resource("pods");
    for (const auto& item : answer.result->items) {
      if (!model::verify(*kind.type, item.object) || uses(model::Object(kind, item.object), key)) {
        decision.wake(now + kLookAgain);  // the view is behind
        return;
      }
    }
    decision.add(set_finalizer(claim, kClaimFinalizer, false));
    return;
  }
  bus::Command command;
  command.verb = bus::Verb::List;
  command.resource = "pods";
  command.ns = claim.ns();
  decision.add(std::move(command));
}

}  // namespace

void VolumeProtection::setup(View& view) {
  view.need("persistentvolumes");
  view.need("persistentvolumeclaims");
  view.index("pods", kByClaim, claims_of);
}

void VolumeProtection::keys_for(const View& view, std::string_view resource, const projection::Change& change,
                                std::vector<std::string>& keys) const {
  if (resource != "pods") {
    if (!change.after) return;
    keys.push_back(
        fmt::format("{}{}", resource == "persistentvolumes" ? kVolumeKey : kClaimKey, make_key(change.after)));
    return;
  }
  if (change.after || !change.before) return;  // only its end frees anything
  std::vector<std::string> claims;
  claims_of(change.before, claims);
  for (const auto& claim : claims) {
    const model::Object* found = view.find("persistentvolumeclaims", claim);
    if (found != nullptr && model::is_deleting(found->meta())) keys.push_back(fmt::format("{}{}", kClaimKey, claim));
  }
}

Decision VolumeProtection::decide(const View& view, const std::string& key, WallMicros now,
                                  const Memory& memory) const {
  Decision decision;
  const bool claim = key.starts_with(kClaimKey);
  const model::Object* object =
      claim ? view.find("persistentvolumeclaims", std::string_view(key).substr(kClaimKey.size()))
            : view.find("persistentvolumes", "", std::string_view(key).substr(kVolumeKey.size()));
  if (object == nullptr) return decision;
  const char* finalizer = claim ? kClaimFinalizer : kVolumeFinalizer;
  const bool has = model::has_finalizer(object->meta(), finalizer);
  if (!model::is_deleting(object->meta())) {
    if (!has) decision.add(set_finalizer(*object, finalizer, true));
    return decision;
  }
  if (!has) return decision;
  if (claim) {
    release_claim(view, *object, now, memory, decision);
    return decision;
  }
  const auto* status = object->as<core::PersistentVolume>()->status();
  if (status == nullptr || str(status->phase()) != "Bound")
    decision.add(set_finalizer(*object, kVolumeFinalizer, false));
  return decision;
}

}  // namespace gantry::controllers
