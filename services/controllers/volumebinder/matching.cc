#include "services/controllers/volumebinder/matching.h"

#include "libs/model/node_selector.h"
#include "libs/model/quantity.h"
#include "libs/model/selector.h"
#include "libs/model/workload.h"
#include "services/controllers/volumebinder/volumebinder.h"

namespace gantry::controllers {

using api::storage_v1::StorageClass;
using model::str;

namespace {

constexpr const char* kOldClass = "volume.beta.kubernetes.io/storage-class";

std::string_view mode_of(const flatbuffers::String* mode) { return str(mode).empty() ? "Filesystem" : str(mode); }

template <typename Modes>
bool has(const Modes* modes, std::string_view wanted) {
  return modes != nullptr && std::any_of(modes->begin(), modes->end(), [&](const auto* m) { return str(m) == wanted; });
}

}  // namespace

std::optional<std::string> class_of(const model::Object& claim) {
  if (const auto* old = claim.meta() == nullptr ? nullptr : model::lookup(claim.meta()->annotations(), kOldClass))
    return std::string(str(old));
  const auto* spec = claim.as<core::PersistentVolumeClaim>()->spec();
  if (spec == nullptr || spec->storage_class_name() == nullptr) return std::nullopt;
  return std::string(str(spec->storage_class_name()));
}

std::string class_of_volume(const model::Object& volume) {
  if (const auto* old = volume.meta() == nullptr ? nullptr : model::lookup(volume.meta()->annotations(), kOldClass))
    return std::string(str(old));
  const auto* spec = volume.as<core::PersistentVolume>()->spec();
  return spec == nullptr ? std::string() : std::string(str(spec->storage_class_name()));
}

const model::Object* default_class(const View& view) {
  const model::Object* best = nullptr;
  view.cache("storageclasses").for_each([&](const model::Object& one) {
    if (model::annotation(one.meta(), "storageclass.kubernetes.io/is-default-class") != "true") return;
    if (best == nullptr || model::created_at(one.meta()) > model::created_at(best->meta())) best = &one;
  });
  return best;
}

bool waits_for_consumer(const model::Object& storage_class) {
  return str(storage_class.as<StorageClass>()->volume_binding_mode()) == "WaitForFirstConsumer";
}

int64_t storage(const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* amounts) {
  const auto* text = amounts == nullptr ? nullptr : model::lookup(amounts, "storage");
  auto amount = text == nullptr ? Result<model::Quantity>(model::Quantity()) : model::Quantity::parse(str(text));
  return amount.ok() ? amount->value() : 0;
}

int64_t requested(const core::PersistentVolumeClaimSpec& spec) {
  return spec.resources() == nullptr ? 0 : storage(spec.resources()->requests());
}

bool refers(const core::ObjectReference* reference, const model::Object& claim) {
  return reference != nullptr && str(reference->namespace_()) == claim.ns() && str(reference->name()) == claim.name() &&
         (str(reference->uid()).empty() || str(reference->uid()) == claim.uid());
}

std::string unsuitable(const model::Object& volume, const model::Object& claim) {
  const auto* v = volume.as<core::PersistentVolume>()->spec();
  const auto* c = claim.as<core::PersistentVolumeClaim>()->spec();
  if (v == nullptr || c == nullptr) return "it has no spec";
  if (requested(*c) > storage(v->capacity())) return "requested PV is too small";
  if (class_of(claim).value_or("") != class_of_volume(volume)) return "storageClassName does not match";
  if (mode_of(v->volume_mode()) != mode_of(c->volume_mode())) return "incompatible volumeMode";
  if (c->access_modes() != nullptr) {
    for (const auto* mode : *c->access_modes()) {
      if (!has(v->access_modes(), str(mode))) return "incompatible accessMode";
    }
  }
  return {};
}

const model::Object* best_match(const View& view, const model::Object& claim, const model::Object* node) {
  const auto* spec = claim.as<core::PersistentVolumeClaim>()->spec();
  auto selector = spec->selector() == nullptr ? Result<model::LabelSelector>(model::LabelSelector())
                                              : model::LabelSelector::from(spec->selector());
  if (!selector.ok()) return nullptr;
  const model::Object* best = nullptr;
  view.each_by("persistentvolumes", kUnclaimed, class_of(claim).value_or(""), [&](const model::Object& volume) {
    const auto* v = volume.as<core::PersistentVolume>()->spec();
    if (model::is_deleting(volume.meta()) || !unsuitable(volume, claim).empty()) return;
    if (!selector->matches(volume.meta()->labels())) return;
    const auto* affinity = v->node_affinity() == nullptr ? nullptr : v->node_affinity()->required();
    if (node != nullptr && affinity != nullptr && !model::matches(affinity, node->meta()->labels(), node->name()))
      return;
    if (best == nullptr || storage(v->capacity()) < storage(best->as<core::PersistentVolume>()->spec()->capacity()))
      best = &volume;
  });
  return best;
}

}  // namespace gantry::controllers
