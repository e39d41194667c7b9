#include "services/controllers/statefulset/members.h"

#include <charconv>
#include <nlohmann/json.hpp>

#include "libs/model/draft.h"
#include "libs/model/json.h"
#include "libs/model/schema.h"
#include "libs/model/workload.h"
#include "schemas/api/core_more_v1_generated.h"
#include "services/controllers/framework/pods.h"
#include "services/controllers/framework/revisions.h"

namespace gantry::controllers {

using api::apps_v1::StatefulSet;
using api::core_v1::Pod;
using model::str;
using nlohmann::json;

std::optional<int> ordinal_of(std::string_view set, std::string_view pod) {
  if (pod.size() < set.size() + 2 || !pod.starts_with(set) || pod[set.size()] != '-') return std::nullopt;
  const std::string_view digits = pod.substr(set.size() + 1);
  int ordinal = -1;
  auto read = std::from_chars(digits.data(), digits.data() + digits.size(), ordinal);
  if (read.ec != std::errc() || read.ptr != digits.data() + digits.size() || ordinal < 0) return std::nullopt;
  if (digits.size() > 1 && digits[0] == '0') return std::nullopt;
  return ordinal;
}

Replica describe(const model::Object& object, int ordinal, int32_t min_ready_seconds, int64_t now) {
  const Pod& pod = *object.as<Pod>();
  const std::string_view phase = pod.status() == nullptr ? std::string_view() : str(pod.status()->phase());
  Replica r;
  r.object = object;
  r.ordinal = ordinal;
  r.revision = model::label(object.meta(), kRevisionHash);
  r.created = !phase.empty();
  r.pending = phase == "Pending";
  r.failed = phase == "Failed";
  r.succeeded = phase == "Succeeded";
  r.terminating = model::is_deleting(object.meta());
  r.ready = phase == "Running" && model::pod_ready(pod);
  r.available = r.ready && model::pod_available(pod, min_ready_seconds, now);
  if (r.ready)
    r.available_at = model::condition(pod, "Ready")->last_transition_time().value_or(now) + min_ready_seconds;
  return r;
}

namespace {

/// Volumes of the template, but for those that a claim template stands in for.
void set_volumes(model::Draft& pod, const model::Object& set, int ordinal, const api::core_v1::PodTemplateSpec* from) {
  const auto claims = claims_of(set, ordinal);
  if (claims.empty()) return;
  const auto* old = from == nullptr || from->spec() == nullptr ? nullptr : from->spec()->volumes();
  pod.clear("spec.volumes");
  size_t n = 0;
  for (const ClaimOf& claim : claims) {
    pod.set("spec.volumes[+].name", str(claim.from->metadata()->name()));
    pod.set(fmt::format("spec.volumes[{}].persistentVolumeClaim.claimName", n++), claim.name);
  }
  for (flatbuffers::uoffset_t i = 0; old != nullptr && i < old->size(); ++i) {
    const std::string_view name = str(old->Get(i)->name());
    const bool replaced = std::any_of(claims.begin(), claims.end(), [&](const ClaimOf& claim) {
      return str(claim.from->metadata()->name()) == name;
    });
    if (!replaced) pod.copy("spec.volumes[+]", old->Get(i));
  }
}

}  // namespace

model::Bytes make_replica(const model::Object& set, int ordinal, const api::core_v1::PodTemplateSpec* pod_template,
                          std::string_view revision) {
  model::Draft pod = pod_from_template(set, pod_template);
  const std::string name = fmt::format("{}-{}", set.name(), ordinal);
  pod.set("metadata.name", name);
  pod.set("metadata.generateName", fmt::format("{}-", set.name()));
  pod.set("metadata.labels[statefulset.kubernetes.io/pod-name]", name);
  pod.set("metadata.labels[apps.kubernetes.io/pod-index]", std::to_string(ordinal));
  pod.set(fmt::format("metadata.labels[{}]", kRevisionHash), revision);
  pod.set("spec.hostname", name);
  const std::string_view service = str(set.as<StatefulSet>()->spec()->service_name());
  if (!service.empty()) pod.set("spec.subdomain", service);
  set_volumes(pod, set, ordinal, pod_template);
  return pod.bytes();
}

std::vector<ClaimOf> claims_of(const model::Object& set, int ordinal) {
  std::vector<ClaimOf> claims;
  const auto* templates = set.as<StatefulSet>()->spec()->volume_claim_templates();
  for (flatbuffers::uoffset_t i = 0; templates != nullptr && i < templates->size(); ++i) {
    const auto* from = templates->Get(i);
    if (from->metadata() == nullptr) continue;
    claims.push_back({fmt::format("{}-{}-{}", str(from->metadata()->name()), set.name(), ordinal), from});
  }
  return claims;
}

model::Bytes make_claim(const model::Object& set, const ClaimOf& claim) {
  static const model::Kind& kind = *model::Schema::get().by_resource("persistentvolumeclaims");
  model::Draft draft(kind);
  const auto* meta = reinterpret_cast<const flatbuffers::Table*>(claim.from->metadata());
  for (const char* field : {"labels", "annotations", "finalizers"}) draft.copy_field("metadata", field, meta);
  draft.set("metadata.name", claim.name);
  draft.set("metadata.namespace", set.ns());
  const auto* selector = set.as<StatefulSet>()->spec()->selector();
  if (selector != nullptr && selector->match_labels() != nullptr) {
    for (const auto* entry : *selector->match_labels())
      draft.set(fmt::format("metadata.labels[{}]", str(entry->key())), str(entry->value()));
  }
  draft.copy("spec", claim.from->spec());
  return draft.bytes();
}

std::optional<std::string> owners_patch(const model::Object& set, const model::Object& claim, const model::Object* pod,
                                        bool condemned) {
  const auto* policy = set.as<StatefulSet>()->spec()->persistent_volume_claim_retention_policy();
  const bool on_delete = policy != nullptr && str(policy->when_deleted()) == "Delete";
  const bool on_scale = policy != nullptr && str(policy->when_scaled()) == "Delete";
  const bool by_pod = on_scale && condemned && pod != nullptr, by_set = on_delete && !by_pod;
  static const model::Type& type = *model::Schema::get().type("gantry.api.meta_v1.OwnerReference");
  json before = json::array(), owners = json::array();
  if (claim.meta()->owner_references() != nullptr) {
    for (const auto* owner : *claim.meta()->owner_references()) {
      before.push_back(json::parse(model::to_json(type, reinterpret_cast<const flatbuffers::Table*>(owner))));
      const bool ours = str(owner->uid()) == set.uid() ||
                        (str(owner->kind()) == "Pod" && ordinal_of(set.name(), str(owner->name())).has_value());
      if (!ours) owners.push_back(before.back());
    }
  }
  auto add = [&](const model::Object& owner) {
    json reference = {{"apiVersion", owner.kind().api_version()},
                      {"kind", owner.kind().kind},
                      {"name", owner.name()},
                      {"uid", owner.uid()}};
    if (&owner == &set) reference["controller"] = reference["blockOwnerDeletion"] = true;
    owners.push_back(std::move(reference));
  };
  if (by_set) add(set);
  if (by_pod) add(*pod);
  if (owners == before) return std::nullopt;
  return json{{"metadata", {{"ownerReferences", owners.empty() ? json(nullptr) : owners}}}}.dump();
}

}  // namespace gantry::controllers
