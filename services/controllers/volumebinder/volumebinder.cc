#include "services/controllers/volumebinder/volumebinder.h"

#include "services/controllers/volumebinder/matching.h"

namespace gantry::controllers {

using model::str;

namespace {

constexpr std::string_view kClaimKey = "claim:", kVolumeKey = "volume:";

std::string key_of_claim(const core::ObjectReference& reference) {
  return make_key(str(reference.namespace_()), str(reference.name()));
}

const core::ObjectReference* claim_ref(const model::Object& volume) {
  const auto* spec = volume.as<core::PersistentVolume>()->spec();
  return spec == nullptr ? nullptr : spec->claim_ref();
}

bool pending(const model::Object& claim) {
  const auto* spec = claim.as<core::PersistentVolumeClaim>()->spec();
  return spec != nullptr && str(spec->volume_name()).empty();
}

void wake_pending(const View& view, const std::string& storage_class, std::vector<std::string>& keys) {
  view.each_by("persistentvolumeclaims", kPending, storage_class,
               [&](const model::Object& claim) { keys.push_back(fmt::format("{}{}", kClaimKey, make_key(claim))); });
}

}  // namespace

void VolumeBinder::setup(View& view) {
  view.need("storageclasses");
  view.need("csinodes");
  view.need("nodes");
  view.index("persistentvolumes", kByClaim, [](const model::Object& volume, std::vector<std::string>& values) {
    if (const auto* reference = claim_ref(volume)) values.push_back(key_of_claim(*reference));
  });
  view.index("persistentvolumes", kUnclaimed, [](const model::Object& volume, std::vector<std::string>& values) {
    if (claim_ref(volume) == nullptr) values.push_back(class_of_volume(volume));
  });
  view.index("persistentvolumeclaims", kPending, [](const model::Object& claim, std::vector<std::string>& values) {
    if (pending(claim)) values.push_back(class_of(claim).value_or(""));
  });
}

void VolumeBinder::keys_for(const View& view, std::string_view resource, const projection::Change& change,
                            std::vector<std::string>& keys) const {
  const model::Object& object = change.after ? change.after : change.before;
  if (resource == "persistentvolumeclaims") {
    keys.push_back(fmt::format("{}{}", kClaimKey, make_key(object)));
    view.each_by("persistentvolumes", kByClaim, make_key(object),
                 [&](const model::Object& volume) { keys.push_back(fmt::format("{}{}", kVolumeKey, volume.name())); });
  } else if (resource == "persistentvolumes") {
    keys.push_back(fmt::format("{}{}", kVolumeKey, object.name()));
    for (const auto* side : {&change.before, &change.after}) {
      const auto* reference = *side ? claim_ref(*side) : nullptr;
      if (reference != nullptr) keys.push_back(fmt::format("{}{}", kClaimKey, key_of_claim(*reference)));
    }
    if (change.after && claim_ref(change.after) == nullptr) wake_pending(view, class_of_volume(change.after), keys);
    // Claims may ask for it by its name.
    if (!change.before || !change.after) {
      view.cache("persistentvolumeclaims").for_each([&](const model::Object& claim) {
        const auto* spec = claim.as<core::PersistentVolumeClaim>()->spec();
        if (spec != nullptr && str(spec->volume_name()) == object.name())
          keys.push_back(fmt::format("{}{}", kClaimKey, make_key(claim)));
      });
    }
  } else if (resource == "storageclasses") {
    wake_pending(view, std::string(object.name()), keys);
    wake_pending(view, "", keys);
    view.cache("persistentvolumeclaims").for_each([&](const model::Object& claim) {  // it may grow now
      if (!pending(claim) && class_of(claim) == object.name())
        keys.push_back(fmt::format("{}{}", kClaimKey, make_key(claim)));
    });
  } else {  // a driver came or went
    view.cache("persistentvolumeclaims").for_each([&](const model::Object& claim) {
      if (pending(claim)) keys.push_back(fmt::format("{}{}", kClaimKey, make_key(claim)));
    });
  }
}

Decision VolumeBinder::decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const {
  const bool claim = key.starts_with(kClaimKey);
  const std::string_view name = std::string_view(key).substr(claim ? kClaimKey.size() : kVolumeKey.size());
  const model::Object* found = view.find(claim ? "persistentvolumeclaims" : "persistentvolumes", name);
  if (found == nullptr) return {};
  return claim ? decide_claim(view, *found, now, memory) : decide_volume(view, *found, now, memory);
}

}  // namespace gantry::controllers
