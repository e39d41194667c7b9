#include "services/scheduler/volumes.h"

#include "libs/model/node_selector.h"
#include "libs/model/quantity.h"
#include "libs/model/workload.h"
#include "schemas/api/core_more_v1_generated.h"
#include "schemas/api/storage_v1_generated.h"

namespace gantry::scheduler {

namespace core = api::core_v1;
using api::storage_v1::CSINode;
using api::storage_v1::StorageClass;
using model::str;

namespace {

int64_t storage(const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* amounts) {
  const auto* text = amounts == nullptr ? nullptr : model::lookup(amounts, "storage");
  auto amount = text == nullptr ? Result<model::Quantity>(model::Quantity()) : model::Quantity::parse(str(text));
  return amount.ok() ? amount->value() : 0;
}

bool reaches(const core::PersistentVolumeSpec& volume, const NodeInfo& node) {
  if (volume.node_affinity() == nullptr || volume.node_affinity()->required() == nullptr) return true;
  return model::matches(volume.node_affinity()->required(), node.object.meta()->labels(), node.name);
}

/// As the binder will judge it, but for the selector of labels.
bool serves(const core::PersistentVolumeSpec& volume, const core::PersistentVolumeClaimSpec& claim) {
  const auto mode = [](const flatbuffers::String* m) { return str(m) == "Block"; };
  if (volume.claim_ref() != nullptr || str(volume.storage_class_name()) != str(claim.storage_class_name()) ||
      mode(volume.volume_mode()) != mode(claim.volume_mode()))
    return false;
  return storage(volume.capacity()) >= storage(claim.resources() == nullptr ? nullptr : claim.resources()->requests());
}

}  // namespace

Volumes::Needs Volumes::needs(const PodInfo& pod) const {
  Needs out;
  for (const std::string& name : pod.claims) {
    const model::Object* claim = claims_.find(pod.object.ns(), name);
    if (claim == nullptr) {
      out.refused = fmt::format("persistentvolumeclaim \"{}\" not found", name);
      return out;
    }
    if (model::is_deleting(claim->meta())) {
      out.refused = fmt::format("persistentvolumeclaim \"{}\" is being deleted", name);
      return out;
    }
    const auto* c = claim->as<core::PersistentVolumeClaim>();
    if (c->spec() != nullptr && c->spec()->access_modes() != nullptr && c->spec()->access_modes()->size() > 0 &&
        str(c->spec()->access_modes()->Get(0)) == "ReadWriteOncePod" && in_use(*claim, pod)) {
      out.refused = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";
      return out;
    }
    const std::string_view volume_name = c->spec() == nullptr ? "" : str(c->spec()->volume_name());
    const std::string_view phase = c->status() == nullptr ? "" : str(c->status()->phase());
    if (!volume_name.empty() && phase == "Bound") {
      const model::Object* volume = volumes_.find("", volume_name);
      if (volume == nullptr || volume->as<core::PersistentVolume>()->spec() == nullptr) {
        out.refused = fmt::format("persistentvolume \"{}\" not found", volume_name);
        return out;
      }
      out.bound.push_back(*volume);
      continue;
    }
    if (phase == "Lost") {
      out.refused =
          fmt::format("persistentvolumeclaim \"{}\" bound to non-existent persistentvolume \"{}\"", name, volume_name);
      return out;
    }
    const model::Object* storage_class =
        c->spec() == nullptr ? nullptr : classes_.find("", str(c->spec()->storage_class_name()));
    const bool waits = volume_name.empty() && storage_class != nullptr &&
                       str(storage_class->as<StorageClass>()->volume_binding_mode()) == "WaitForFirstConsumer";
    if (!waits) {
      out.refused = "pod has unbound immediate PersistentVolumeClaims";
      return out;
    }
    out.waiting.push_back(*claim);
  }
  return out;
}

bool Volumes::in_use(const model::Object& claim, const PodInfo& by_other_than) const {
  bool used = false;
  pods_.for_each_in(claim.ns(), [&](const model::Object& object) {
    if (used || object.uid() == by_other_than.object.uid() || !occupies(object)) return;
    const auto claims = describe(object).claims;
    used = std::find(claims.begin(), claims.end(), claim.name()) != claims.end();
  });
  return used;
}

const char* Volumes::refuses(const Needs& needs, const NodeInfo& node) const {
  for (const model::Object& volume : needs.bound) {
    if (!reaches(*volume.as<core::PersistentVolume>()->spec(), node))
      return "node(s) didn't match PersistentVolume's node affinity";
  }
  for (const model::Object& claim : needs.waiting) {
    const std::string_view selected = model::annotation(claim.meta(), kSelectedNode);
    if ((needs.stay && !selected.empty() && selected != node.name) || !can_serve(claim, node))
      return "node(s) didn't find available persistent volumes to bind";
  }
  return nullptr;
}

bool Volumes::can_serve(const model::Object& claim, const NodeInfo& node) const {
  const auto& spec = *claim.as<core::PersistentVolumeClaim>()->spec();
  const model::Object* storage_class = classes_.find("", str(spec.storage_class_name()));
  if (storage_class == nullptr) return false;
  const std::string_view provisioner = str(storage_class->as<StorageClass>()->provisioner());
  const model::Object* csi_node = csi_nodes_.find("", node.name);
  const auto* drivers = csi_node == nullptr ? nullptr : csi_node->as<CSINode>()->spec();
  if (drivers != nullptr && drivers->drivers() != nullptr) {
    for (const auto* d : *drivers->drivers()) {
      if (str(d->name()) == provisioner) return true;
    }
  }
  bool found = false;
  volumes_.for_each([&](const model::Object& volume) {
    const auto* v = volume.as<core::PersistentVolume>()->spec();
    found = found || (v != nullptr && !model::is_deleting(volume.meta()) && serves(*v, spec) && reaches(*v, node));
  });
  return found;
}

}  // namespace gantry::scheduler
