// Rules of volumes and claims, limits and quotas and the other small kinds.
#include <set>

#include "libs/model/names.h"
#include "schemas/api/coordination_v1_generated.h"
#include "schemas/api/core_more_v1_generated.h"
#include "schemas/api/scheduling_v1_generated.h"
#include "schemas/api/storage_v1_generated.h"
#include "services/apigw/rules/programs.h"

namespace gantry::apigw {
namespace {

using flatbuffers::uoffset_t;
using model::Quantity;
using model::str;
namespace core = api::core_v1;

// --- volumes and claims

void once_alone(const flatbuffers::Vector<flatbuffers::Offset<flatbuffers::String>>* modes, const std::string& at,
                Problems& problems) {
  if (holds(modes, "ReadWriteOncePod") && count(modes) > 1)
    problems.forbidden(at + ".accessModes", "may not use ReadWriteOncePod with other access modes");
}

void volume(const core::PersistentVolumeSpec& spec, const std::string& at, Problems& problems) {
  static const model::Type& type = *model::Schema::get().type("gantry.api.core_v1.PersistentVolumeSpec");
  int n = 0;
  for (const auto& field : type.fields) {
    // The sources are what protobuf keeps inlined.
    if (field.proto.size() < 2 || !reinterpret_cast<const flatbuffers::Table&>(spec).CheckField(field.slot)) continue;
    if (++n > 1) problems.forbidden(fmt::format("{}.{}", at, field.json), "may not specify more than 1 volume type");
  }
  if (n == 0) problems.required(at, "must specify a volume type");
  once_alone(spec.access_modes(), at, problems);
  for (uoffset_t i = 0; i < count(spec.capacity()); ++i) {
    const auto& entry = *spec.capacity()->Get(i);
    const auto size = Quantity::parse(str(entry.value()));
    if (str(entry.key()) != "storage") {
      problems.unsupported(at + ".capacity", str(entry.key()), {"storage"});
    } else if (size.ok() && *size <= Quantity()) {
      problems.invalid(at + ".capacity[storage]", str(entry.value()), "must be greater than zero");
    }
  }
  if (spec.local() != nullptr && (spec.node_affinity() == nullptr || spec.node_affinity()->required() == nullptr))
    problems.required(at + ".nodeAffinity", "Local volume requires node affinity");
  if (spec.node_affinity() != nullptr && spec.node_affinity()->required() == nullptr)
    problems.required(at + ".nodeAffinity.required", "must specify required node constraints");
  if (spec.host_path() != nullptr && str(spec.host_path()->path()) == "/" &&
      str(spec.persistent_volume_reclaim_policy()) == "Recycle")
    problems.forbidden(at + ".persistentVolumeReclaimPolicy", "may not be 'recycle' for a hostPath mount of '/'");
}

void claim(const core::PersistentVolumeClaimSpec& spec, const std::string& at, Problems& problems) {
  once_alone(spec.access_modes(), at, problems);
  const auto* requests = spec.resources() == nullptr ? nullptr : spec.resources()->requests();
  const auto* size = model::lookup(requests, "storage");
  const auto quantity = Quantity::parse(str(size));
  if (size == nullptr) {
    problems.required(at + ".resources[storage]");
  } else if (quantity.ok() && *quantity <= Quantity()) {
    problems.invalid(at + ".resources[storage]", str(size), "must be greater than zero");
  }
  if (spec.data_source() != nullptr && str(spec.data_source()->api_group()).empty() &&
      str(spec.data_source()->kind()) != "PersistentVolumeClaim")
    problems.invalid(at + ".dataSource", str(spec.data_source()->kind()),
                     "must be 'PersistentVolumeClaim' when referencing the default apiGroup");
}

void attachment(const api::storage_v1::VolumeAttachmentSource& source, const std::string& at, Problems& problems) {
  const bool inlined = source.inline_volume_spec() != nullptr, named = source.persistent_volume_name() != nullptr;
  if (!inlined && !named)
    problems.required(at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
  if (inlined && named) problems.forbidden(at, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
  if (named && str(source.persistent_volume_name()).empty())
    problems.required(at + ".persistentVolumeName", "must specify non empty persistentVolumeName");
}

void storage_class(const api::storage_v1::StorageClass& c, const std::string&, Problems& problems) {
  const std::string_view provisioner = str(c.provisioner());
  if (!provisioner.empty()) {
    std::string lower(provisioner);
    for (char& letter : lower) letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    problems.check("provisioner", provisioner, model::check_qualified_name(lower));
  }
  size_t bytes = 0;
  for (uoffset_t i = 0; i < count(c.parameters()); ++i) {
    const auto& entry = *c.parameters()->Get(i);
    if (str(entry.key()).empty()) problems.invalid("parameters", "", "field can not be empty.");
    bytes += str(entry.key()).size() + str(entry.value()).size();
  }
  if (bytes > 256 * 1024) problems.too_long("parameters", 256 * 1024);
}

void csi_node(const api::storage_v1::CSINodeSpec& spec, const std::string& at, Problems& problems) {
  std::set<std::string_view> names;
  for (uoffset_t i = 0; i < count(spec.drivers()); ++i) {
    const auto& driver = *spec.drivers()->Get(i);
    const std::string path = fmt::format("{}.drivers[{}]", at, i);
    if (!str(driver.name()).empty() && !names.insert(str(driver.name())).second)
      problems.duplicate(path + ".name", str(driver.name()));
    if (driver.allocatable() != nullptr && driver.allocatable()->count().value_or(0) < 0)
      problems.invalid(path + ".allocatable.count", *driver.allocatable()->count(), kNotNegative);
  }
}

// --- limits and quotas

void limit_item(const core::LimitRangeItem& item, const std::string& at, Problems& problems) {
  const std::string_view type = str(item.type());
  if (!type.empty() && !one_of(type, {"Pod", "Container", "PersistentVolumeClaim"}))
    problems.check(at + ".type", type,
                   type.find('/') == std::string_view::npos ? "must be a standard limit type or fully qualified"
                                                            : model::check_qualified_name(type));
  if (type == "Pod") {
    if (count(item.standard()) > 0) problems.forbidden(at + ".default", "may not be specified when `type` is 'Pod'");
    if (count(item.default_request()) > 0)
      problems.forbidden(at + ".defaultRequest", "may not be specified when `type` is 'Pod'");
  }
  if (type == "PersistentVolumeClaim" && model::lookup(item.min(), "storage") == nullptr &&
      model::lookup(item.max(), "storage") == nullptr)
    problems.required(at + ".limits", "either minimum or maximum storage value is required, but neither was provided");
  std::set<std::string_view> names;
  const auto lists = {item.max(), item.min(), item.standard(), item.default_request(), item.max_limit_request_ratio()};
  for (const auto* list : lists) {
    for (uoffset_t i = 0; i < count(list); ++i) names.insert(str(list->Get(i)->key()));
  }
  struct Bound {
    const model::Labels* list;
    const char *field, *words;
  };
  // Each is at most what follows.
  const Bound order[] = {{item.min(), "min", "min value"},
                         {item.default_request(), "defaultRequest", "default request value"},
                         {item.standard(), "default", "default value"},
                         {item.max(), "max", "max value"}};
  for (const auto name : names) {
    for (const auto& low : order) {
      for (const auto* high = &low + 1; high != std::end(order); ++high) {
        const auto a = quantity_of(low.list, name), b = quantity_of(high->list, name);
        if (!a.ok() || !b.ok() || *a <= *b) continue;
        const auto* text = model::lookup(low.list, name);
        problems.invalid(
            fmt::format("{}.{}[{}]", at, low.field, name), str(text),
            fmt::format("{} {} is greater than {} {}", low.words, a->to_string(), high->words, b->to_string()));
      }
    }
    const auto ratio = quantity_of(item.max_limit_request_ratio(), name);
    if (!ratio.ok()) continue;
    const std::string path = fmt::format("{}.maxLimitRequestRatio[{}]", at, name);
    if (*ratio < Quantity::from_value(1))
      problems.invalid(path, ratio->to_string(), fmt::format("ratio {} is less than 1", ratio->to_string()));
    const auto low = quantity_of(item.min(), name), high = quantity_of(item.max(), name);
    if (!low.ok() || !high.ok() || *low <= Quantity()) continue;
    const double most = static_cast<double>(high->milli()) / static_cast<double>(low->milli());
    if (static_cast<double>(ratio->milli()) / 1000 > most)
      problems.invalid(path, ratio->to_string(),
                       fmt::format("ratio {} is greater than max/min = {:f}", ratio->to_string(), most));
  }
}

void limits(const core::LimitRangeSpec& spec, const std::string& at, Problems& problems) {
  std::set<std::string_view> types;
  for (uoffset_t i = 0; i < count(spec.limits()); ++i) {
    const std::string_view type = str(spec.limits()->Get(i)->type());
    if (!type.empty() && !types.insert(type).second) problems.duplicate(fmt::format("{}.limits[{}].type", at, i), type);
  }
}

bool quota_name(std::string_view name) {
  if (name.find('/') != std::string_view::npos || name.starts_with("hugepages-") ||
      name.starts_with("requests.hugepages-") || name.starts_with("limits.hugepages-"))
    return true;
  return one_of(name, {"cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.storage",
                       "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage", "pods",
                       "resourcequotas", "services", "replicationcontrollers", "secrets", "persistentvolumeclaims",
                       "configmaps", "services.nodeports", "services.loadbalancers"});
}

bool counted(std::string_view name) {
  return name.starts_with("count/") ||
         one_of(name, {"pods", "resourcequotas", "services", "replicationcontrollers", "secrets",
                       "persistentvolumeclaims", "configmaps", "services.nodeports", "services.loadbalancers"});
}

/// What a scope of pods can count.
bool in_scope(std::string_view scope, std::string_view name) {
  if (scope == "BestEffort") return name == "pods" || name == "count/pods";
  if (scope == "VolumeAttributesClass")
    return one_of(name, {"persistentvolumeclaims", "requests.storage", "count/persistentvolumeclaims"});
  return one_of(name, {"pods", "count/pods", "cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu",
                       "limits.memory", "ephemeral-storage", "requests.ephemeral-storage", "limits.ephemeral-storage"});
}

void quota(const core::ResourceQuotaSpec& spec, const std::string& at, Problems& problems) {
  for (uoffset_t i = 0; i < count(spec.hard()); ++i) {
    const std::string_view name = str(spec.hard()->Get(i)->key()), text = str(spec.hard()->Get(i)->value());
    const std::string path = fmt::format("{}.hard[{}]", at, name);
    if (const auto wrong = model::check_qualified_name(name); !wrong.empty()) {
      problems.invalid(path, name, wrong);
    } else if (!quota_name(name)) {
      problems.invalid(path, name, "must be a standard resource for quota");
    }
    const auto value = Quantity::parse(text);
    if (!value.ok()) continue;
    if (*value < Quantity()) problems.invalid(path, text, kNotNegative);
    if (counted(name) && *value != Quantity::from_value(value->value()))
      problems.invalid(path, text, "must be an integer");
    for (uoffset_t j = 0; j < count(spec.scopes()); ++j) {
      if (!in_scope(str(spec.scopes()->Get(j)), name))
        problems.invalid(at + ".scopes", str(spec.scopes()->Get(j)), "unsupported scope applied to resource");
    }
  }
  const auto both = [&](const char* a, const char* b) {
    if (holds(spec.scopes(), a) && holds(spec.scopes(), b))
      problems.invalid_json(at + ".scopes", fmt::format("[\"{}\",\"{}\"]", a, b), "conflicting scopes");
  };
  both("BestEffort", "NotBestEffort");
  both("Terminating", "NotTerminating");
}

void scope_requirement(const core::ScopedResourceSelectorRequirement& r, const std::string& at, Problems& problems) {
  const std::string_view op = str(r.operator_());
  const bool fixed = one_of(str(r.scope_name()), {"BestEffort", "NotBestEffort", "Terminating", "NotTerminating"});
  if (fixed && op != "Exists")
    problems.invalid(at + ".operator", op,
                     "must be 'Exist' when scope is any of ResourceQuotaScopeTerminating, "
                     "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort and "
                     "ResourceQuotaScopeNotBestEffort");
  if (one_of(op, {"In", "NotIn"}) && count(r.values()) == 0)
    problems.required(at + ".values",
                      "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector");
  if (one_of(op, {"Exists", "DoesNotExist"}) && count(r.values()) > 0)
    problems.invalid_json(at + ".values", std::to_string(count(r.values())),
                          "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector");
}

void priority(const api::scheduling_v1::PriorityClass& c, const std::string&, Problems& problems) {
  const std::string_view name =
      c.metadata() == nullptr || c.metadata()->name() == nullptr ? std::string_view() : str(c.metadata()->name());
  const int value = c.value().value_or(0);
  const bool ours = (name == "system-node-critical" && value == 2000001000) ||
                    (name == "system-cluster-critical" && value == 2000000000);
  if (ours) return;
  if (name.starts_with("system-"))
    problems.forbidden("metadata.name", "priority class names with 'system-' prefix are reserved for system use only");
  if (value > 1000000000) problems.forbidden("value", "maximum allowed value of a user defined priority is 1000000000");
}

void lease(const api::coordination_v1::LeaseSpec& spec, const std::string& at, Problems& problems) {
  if (!str(spec.preferred_holder()).empty() && str(spec.strategy()).empty())
    problems.forbidden(at + ".preferredHolder", "may only be specified when `strategy` is defined");
}

constexpr Program kPrograms[] = {
    {"core_v1.PersistentVolumeSpec", typed<core::PersistentVolumeSpec, volume>},
    {"core_v1.PersistentVolumeClaimSpec", typed<core::PersistentVolumeClaimSpec, claim>},
    {"storage_v1.VolumeAttachmentSource", typed<api::storage_v1::VolumeAttachmentSource, attachment>},
    {"storage_v1.StorageClass", typed<api::storage_v1::StorageClass, storage_class>},
    {"storage_v1.CSINodeSpec", typed<api::storage_v1::CSINodeSpec, csi_node>},
    {"core_v1.LimitRangeItem", typed<core::LimitRangeItem, limit_item>},
    {"core_v1.LimitRangeSpec", typed<core::LimitRangeSpec, limits>},
    {"core_v1.ResourceQuotaSpec", typed<core::ResourceQuotaSpec, quota>},
    {"core_v1.ScopedResourceSelectorRequirement", typed<core::ScopedResourceSelectorRequirement, scope_requirement>},
    {"scheduling_v1.PriorityClass", typed<api::scheduling_v1::PriorityClass, priority>},
    {"coordination_v1.LeaseSpec", typed<api::coordination_v1::LeaseSpec, lease>},
};

}  // namespace

std::span<const Program> other_programs() { return kPrograms; }

}  // namespace gantry::apigw
