// Cells of volumes, claims, storage classes, CSI, quotas and device claims.
#include <fmt/format.h>

#include "services/apigw/render/columns.h"
#include "services/apigw/render/paths.h"

namespace gantry::apigw {
namespace {

using model::Object;
using nlohmann::json;

std::string annotation(const Object& o, std::string_view key) {
  const auto* value = o.meta() ? model::lookup(o.meta()->annotations(), key) : nullptr;
  return std::string(model::str(value));
}

json volume_phase(const Object& o, WallMicros) {
  return o.meta() && o.meta()->deletion_timestamp() ? "Terminating" : paths::text(o, "status.phase");
}
json pv_capacity(const Object& o, WallMicros) { return paths::text(o, "spec.capacity[storage]"); }
bool bound(const Object& claim) { return !paths::text(claim, "spec.volumeName").empty(); }
json pvc_capacity(const Object& o, WallMicros) {
  return bound(o) ? paths::text_or(o, "status.capacity[storage]", "0") : "";
}

json access_modes(const Object& o, WallMicros) {
  const bool claim = o.kind().resource == "persistentvolumeclaims";
  if (claim && !bound(o)) return "";
  std::set<std::string> modes;
  const char* path = claim ? "status.accessModes" : "spec.accessModes";
  paths::each(o, path, [&](const std::string& at) { modes.insert(paths::text(o, at)); });
  std::string out;
  for (const auto& [mode, word] : {std::pair{"ReadWriteOnce", "RWO"}, std::pair{"ReadOnlyMany", "ROX"},
                                   std::pair{"ReadWriteMany", "RWX"}, std::pair{"ReadWriteOncePod", "RWOP"}}) {
    if (modes.contains(mode)) out.append(out.empty() ? "" : ",").append(word);
  }
  return out;
}

json pv_claim(const Object& o, WallMicros) {
  if (!paths::has(o, "spec.claimRef")) return "";
  return paths::text(o, "spec.claimRef.namespace") + "/" + paths::text(o, "spec.claimRef.name");
}
json storage_class(const Object& o, WallMicros) {
  auto old = annotation(o, "volume.beta.kubernetes.io/storage-class");
  return old.empty() ? paths::text(o, "spec.storageClassName") : old;
}
json volume_attributes_class(const Object& o, WallMicros) {
  return paths::text_or(o, "spec.volumeAttributesClassName", "<unset>");
}
json volume_mode(const Object& o, WallMicros) { return paths::text_or(o, "spec.volumeMode", "<unset>"); }

json quota(const Object& o, bool limits) {
  std::string out;
  auto hard = model::find(o, "status.hard");
  if (!hard.present()) return out;
  using Entries = flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>;
  auto used = model::find(o, "status.used");
  const auto* use = used.present() ? used.parent->GetPointer<const Entries*>(used.field->slot) : nullptr;
  for (const auto* entry : *hard.parent->GetPointer<const Entries*>(hard.field->slot)) {
    auto name = model::str(entry->key());
    if (name.starts_with("limits") != limits) continue;
    const auto* now = model::lookup(use, name);
    out += fmt::format("{}{}: {}/{}", out.empty() ? "" : ", ", name, now ? model::str(now) : std::string_view("0"),
                       model::str(entry->value()));
  }
  return out;
}
json quota_requests(const Object& o, WallMicros) { return quota(o, false); }
json quota_limits(const Object& o, WallMicros) { return quota(o, true); }

json storageclass_name(const Object& o, WallMicros) {
  const bool standard = annotation(o, "storageclass.kubernetes.io/is-default-class") == "true" ||
                        annotation(o, "storageclass.beta.kubernetes.io/is-default-class") == "true";
  return std::string(o.name()) + (standard ? " (default)" : "");
}
json reclaim_policy(const Object& o, WallMicros) { return paths::text_or(o, "reclaimPolicy", "Delete"); }
json binding_mode(const Object& o, WallMicros) { return paths::text_or(o, "volumeBindingMode", "Immediate"); }
json allow_expansion(const Object& o, WallMicros) { return paths::text_or(o, "allowVolumeExpansion", "false"); }

json csi_attach(const Object& o, WallMicros) { return paths::text_or(o, "spec.attachRequired", "true") == "true"; }
json csi_pod_info(const Object& o, WallMicros) { return paths::text(o, "spec.podInfoOnMount") == "true"; }
json csi_capacity(const Object& o, WallMicros) { return paths::text(o, "spec.storageCapacity") == "true"; }
json csi_republish(const Object& o, WallMicros) { return paths::text(o, "spec.requiresRepublish") == "true"; }
json csi_tokens(const Object& o, WallMicros) {
  std::string out;
  paths::each(o, "spec.tokenRequests", [&](const std::string& at) {
    out.append(out.empty() ? "" : ",").append(paths::text(o, at + ".audience"));
  });
  return out.empty() ? "<unset>" : out;
}
json csi_modes(const Object& o, WallMicros) {
  auto modes = paths::join(o, "spec.volumeLifecycleModes");
  return modes.empty() ? "Persistent" : modes;
}
json csi_drivers(const Object& o, WallMicros) { return paths::count(o, "spec.drivers"); }
json attached(const Object& o, WallMicros) { return paths::text(o, "status.attached") == "true"; }

json claim_state(const Object& o, WallMicros) {
  if (o.meta() && o.meta()->deletion_timestamp()) return "deleted";
  if (!paths::has(o, "status.allocation")) return "pending";
  return paths::count(o, "status.reservedFor") > 0 ? "allocated,reserved" : "allocated";
}

}  // namespace

const Columns& storage_columns() {
#define COLUMN(f) \
  { #f, f }
  // clang-format off
  static const Columns kColumns = {
      COLUMN(volume_phase), COLUMN(pv_capacity), COLUMN(pvc_capacity), COLUMN(access_modes), COLUMN(pv_claim),
      COLUMN(storage_class), COLUMN(volume_attributes_class), COLUMN(volume_mode), COLUMN(quota_requests), COLUMN(quota_limits),
      COLUMN(storageclass_name), COLUMN(reclaim_policy), COLUMN(binding_mode), COLUMN(allow_expansion), COLUMN(csi_attach),
      COLUMN(csi_pod_info), COLUMN(csi_capacity), COLUMN(csi_republish), COLUMN(csi_tokens), COLUMN(csi_modes),
      COLUMN(csi_drivers), COLUMN(attached), COLUMN(claim_state)};
  // clang-format on
#undef COLUMN
  return kColumns;
}

}  // namespace gantry::apigw
