// What may not change, where it takes more than a row of tables.cc: everything that may is put back, and what then
// differs may not.
#include <set>

#include "libs/model/walk.h"
#include "schemas/api/apps_more_v1_generated.h"
#include "schemas/api/batch_v1_generated.h"
#include "schemas/api/certificates_v1_generated.h"
#include "schemas/api/core_more_v1_generated.h"
#include "services/apigw/rules/programs.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

using model::Object;
using model::Quantity;
namespace core = api::core_v1;

/// `now` with these fields of the spec as they were.
Object with_old(const Object& now, const Object& before, std::initializer_list<const char*> fields) {
  const auto* old = part(before, "spec");
  model::Draft draft(now);
  for (const char* field : fields) {
    if (old != nullptr) {
      draft.copy_field("spec", field, old);
    } else {
      draft.clear(fmt::format("spec.{}", field));
    }
  }
  return draft.build();
}

}  // namespace

void validate_statefulset_update(const Object& now, const Object& before, Problems& problems) {
  const Object rest = with_old(now, before,
                               {"replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit",
                                "persistentVolumeClaimRetentionPolicy", "minReadySeconds"});
  if (!same_part(rest, before, "spec"))
    problems.forbidden("spec",
                       "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', "
                       "'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                       "'minReadySeconds' are forbidden");
}

void validate_job_update(const Object& now, const Object& before, Problems& problems) {
  const auto *spec = now.as<api::batch_v1::Job>()->spec(), *old = before.as<api::batch_v1::Job>()->spec();
  if (spec == nullptr || old == nullptr) return;
  if (spec->completions() != old->completions()) {
    // An indexed Job may be stretched: as many at once as there are indexes.
    const bool elastic = model::str(spec->completion_mode()) == "Indexed" && spec->completions() && old->completions();
    if (!elastic) {
      problems.invalid_json("spec.completions", spec->completions() ? std::to_string(*spec->completions()) : "null",
                            kImmutable);
    } else if (spec->completions() != spec->parallelism() || old->completions() != old->parallelism()) {
      problems.invalid("spec.completions", *spec->completions(),
                       fmt::format("can only be modified in tandem with {}", "spec.parallelism"));
    }
  }
  const auto* was = model::find(before, "spec.template").table();
  model::Draft draft(now);
  // Before its first pod a Job may still be told where its pods go.
  const bool waits = old->suspend().value_or(false) && !model::find(before, "status.startTime").present();
  const auto* old_pod = model::find(before, "spec.template.spec").table();
  if (waits && old_pod != nullptr) {
    for (const char* field : {"affinity", "nodeSelector", "tolerations", "schedulingGates"})
      draft.copy_field("spec.template.spec", field, old_pod);
    if (const auto* meta = model::find(before, "spec.template.metadata").table(); meta != nullptr) {
      draft.copy_field("spec.template.metadata", "annotations", meta);
      draft.copy_field("spec.template.metadata", "labels", meta);
    }
  }
  const Object rest = draft.build();
  const auto* is = model::find(rest, "spec.template").table();
  static const model::Type& type = *model::Schema::get().type("gantry.api.core_v1.PodTemplateSpec");
  const bool same = was == nullptr || is == nullptr ? was == is : model::equal(type, was, is);
  if (!same)
    problems.invalid_json("spec.template", printed(type, model::find(now, "spec.template").table()), kImmutable);
}

void validate_volume_update(const Object& now, const Object& before, Problems& problems) {
  static const model::Type& type = *model::Schema::get().type("gantry.api.core_v1.PersistentVolumeSpec");
  const auto *spec = part(now, "spec"), *old = part(before, "spec");
  if (spec == nullptr || old == nullptr) return;
  model::Draft draft(now);
  for (const auto& field : type.fields) {
    if (field.proto.size() < 2) draft.copy_field("spec", field.json, old);  // all but the source
  }
  if (!same_part(draft.build(), before, "spec"))
    problems.forbidden("spec.persistentvolumesource", "spec.persistentvolumesource is immutable after creation");
  const auto* affinity = now.as<core::PersistentVolume>()->spec()->node_affinity();
  const auto* old_affinity = before.as<core::PersistentVolume>()->spec()->node_affinity();
  static const model::Type& node = *model::Schema::get().type("gantry.api.core_v1.VolumeNodeAffinity");
  const auto* x = reinterpret_cast<const flatbuffers::Table*>(affinity);
  const auto* y = reinterpret_cast<const flatbuffers::Table*>(old_affinity);
  if (y != nullptr && (x == nullptr || !model::equal(node, x, y)))
    problems.invalid_json("spec.nodeAffinity", printed(node, x), kImmutable);
}

void validate_claim_update(const Object& now, const Object& before, Problems& problems) {
  const auto *claim = now.as<core::PersistentVolumeClaim>(), *old = before.as<core::PersistentVolumeClaim>();
  if (claim->spec() == nullptr || old->spec() == nullptr) return;
  const auto* status = old->status();
  const bool bound = status != nullptr && model::str(status->phase()) == "Bound";
  Object rest = with_old(now, before, {"volumeAttributesClassName"});
  // The binder names the volume once; a claim without a class may get one.
  if (model::str(old->spec()->volume_name()).empty()) rest = with_old(rest, before, {"volumeName"});
  if (old->spec()->storage_class_name() == nullptr) rest = with_old(rest, before, {"storageClassName"});
  if (bound) rest = with_old(rest, before, {"resources"});
  if (!same_part(rest, before, "spec"))
    problems.forbidden("spec",
                       "spec is immutable after creation except resources.requests and volumeAttributesClassName for "
                       "bound claims");
  const auto size_of = [](const core::PersistentVolumeClaimSpec* spec) {
    return quantity_of(spec->resources() == nullptr ? nullptr : spec->resources()->requests(), "storage");
  };
  const auto size = size_of(claim->spec()), had = size_of(old->spec());
  const auto capacity = quantity_of(status == nullptr ? nullptr : status->capacity(), "storage");
  if (!bound || !size.ok() || !had.ok() || *size >= *had) return;
  // A growth that did not succeed may be taken back, to no less than there is.
  if (!capacity.ok() || *size <= *capacity)
    problems.forbidden("spec.resources.requests.storage", "field can not be less than status.capacity");
}

void validate_signing_update(const Object& now, const Object& before, Problems& problems) {
  namespace certificates = api::certificates_v1;
  const auto *status = now.as<certificates::CertificateSigningRequest>()->status(),
             *old = before.as<certificates::CertificateSigningRequest>()->status();
  std::set<std::string_view> types;
  for (flatbuffers::uoffset_t i = 0; status != nullptr && i < count(status->conditions()); ++i) {
    const auto& condition = *status->conditions()->Get(i);
    const std::string_view type = model::str(condition.type()), value = model::str(condition.status());
    const std::string at = fmt::format("status.conditions[{}]", i);
    if (type.empty()) {
      problems.required(at + ".type");
    } else if (!types.insert(type).second) {
      problems.duplicate(at + ".type", type);
    }
    const bool final = one_of(type, {"Approved", "Denied", "Failed"});
    if (value.empty()) {
      problems.required(at + ".status");
    } else if (final && value != "True") {
      problems.unsupported(at + ".status", value, {"True"});
    } else if (!one_of(value, {"True", "False", "Unknown"})) {
      problems.unsupported(at + ".status", value, {"True", "False", "Unknown"});
    }
  }
  if (types.contains("Approved") && types.contains("Denied"))
    problems.invalid("status.conditions", "Denied", "Approved and Denied conditions are mutually exclusive");
  for (flatbuffers::uoffset_t i = 0; old != nullptr && i < count(old->conditions()); ++i) {
    const std::string_view type = model::str(old->conditions()->Get(i)->type());
    if (one_of(type, {"Approved", "Denied", "Failed"}) && !types.contains(type))
      problems.forbidden("status.conditions", fmt::format("updates may not remove a condition of type \"{}\"", type));
  }
  const auto certificate = model::text_at(now, "status.certificate");
  const auto had = model::text_at(before, "status.certificate");
  if (!had.empty() && certificate != had)
    problems.forbidden("status.certificate", "updates may not modify a non-empty value");
  if (!certificate.empty() && certificate.find("-----BEGIN CERTIFICATE-----") == std::string::npos)
    problems.invalid("status.certificate", "<certificate data>", "PEM block type must be CERTIFICATE");
}

}  // namespace gantry::apigw
