#include "services/apigw/rules/tables.h"

#include <fmt/format.h>

#include "libs/model/walk.h"

namespace gantry::apigw {
namespace {

struct Default {
  std::string_view resource, path, value;
};

// Where the parent is absent nothing is set, unless the path has a "!" behind it.
constexpr Default kDefaults[] = {
    {"jobs", "spec.completionMode", "NonIndexed"},
    {"jobs", "spec.suspend", "false"},
    {"jobs", "spec.manualSelector", "false"},
    {"statefulsets", "spec.persistentVolumeClaimRetentionPolicy!.whenDeleted", "Retain"},
    {"statefulsets", "spec.persistentVolumeClaimRetentionPolicy!.whenScaled", "Retain"},
    {"statefulsets", "spec.volumeClaimTemplates[*].status!.phase", "Pending"},
};

struct Fixed {
  std::string_view resource, path, detail = "field is immutable";
};

constexpr Fixed kFixed[] = {
    {"jobs", "spec.selector"},
    {"jobs", "spec.completionMode"},
    {"jobs", "spec.podFailurePolicy"},
    {"jobs", "spec.backoffLimitPerIndex"},
    {"jobs", "spec.managedBy"},
    {"jobs", "spec.successPolicy"},
    {"daemonsets", "spec.selector"},
    {"controllerrevisions", "data"},
    {"storageclasses", "provisioner", "updates to provisioner are forbidden."},
    {"storageclasses", "parameters", "updates to parameters are forbidden."},
    {"storageclasses", "reclaimPolicy", "updates to reclaimPolicy are forbidden."},
    {"storageclasses", "volumeBindingMode"},
    {"volumeattributesclasses", "driverName", "updates to driverName are forbidden."},
    {"volumeattributesclasses", "parameters", "updates to parameters are forbidden."},
    {"csidrivers", "spec.attachRequired"},
    {"csidrivers", "spec.volumeLifecycleModes"},
    {"csistoragecapacities", "nodeTopology"},
    {"csistoragecapacities", "storageClassName"},
    {"volumeattachments", "spec"},
    {"rolebindings", "roleRef", "cannot change roleRef"},
    {"clusterrolebindings", "roleRef", "cannot change roleRef"},
    {"priorityclasses", "value", "may not be changed in an update."},
    {"priorityclasses", "preemptionPolicy"},
    {"runtimeclasses", "handler"},
    {"ingressclasses", "spec.controller"},
    {"ipaddresses", "spec.parentRef"},
    {"servicecidrs", "spec.cidrs"},
    {"persistentvolumes", "spec.volumeMode"},
    {"resourcequotas", "spec.scopes"},
    {"resourceclaims", "spec"},
    {"resourceclaimtemplates", "spec"},
    {"resourceslices", "spec.driver"},
    {"resourceslices", "spec.nodeName"},
    {"resourceslices", "spec.pool.name"},
};

}  // namespace

void set_default(model::Draft& draft, const model::Field& field, const std::string& at, std::string_view value) {
  switch (field.scalar) {
    case model::Scalar::kBool:
      return draft.set(at, value == "true");
    case model::Scalar::kInt32:
    case model::Scalar::kInt64:
      return draft.set(at, static_cast<int64_t>(std::strtoll(std::string(value).c_str(), nullptr, 10)));
    default:
      return draft.set(at, value);
  }
}

void each_path(const model::Object& object, std::string_view path,
               const std::function<void(const std::string&)>& visit) {
  const size_t star = path.find("[*]");
  if (star == std::string_view::npos) {
    const size_t dot = path.rfind('.');
    const bool inside = dot == std::string_view::npos || model::find(object, path.substr(0, dot)).present();
    if (inside) visit(std::string(path));
    return;
  }
  const std::string list(path.substr(0, star));
  for (size_t i = 0; model::find(object, fmt::format("{}[{}]", list, i)).present(); ++i) {
    const std::string next = fmt::format("{}[{}]{}", list, i, path.substr(star + 3));
    path.size() == star + 3 ? visit(next) : each_path(object, next, visit);
  }
}

void default_by_table(model::Draft& draft, const model::Object& given) {
  const std::string& resource = given.kind().resource;
  for (const auto& rule : kDefaults) {
    if (rule.resource != resource) continue;
    std::string path(rule.path);
    const size_t mark = path.find('!');
    if (mark != std::string::npos) path.erase(mark, 1);
    // What may be absent stands before the mark; its own parent must be there.
    const std::string known = mark == std::string::npos ? path : path.substr(0, mark);
    each_path(given, known, [&](const std::string& at) {
      const std::string full = mark == std::string::npos ? at : at + path.substr(mark);
      const auto found = model::find(given, full);
      if (found.known() && !found.present()) set_default(draft, *found.field, full, rule.value);
    });
  }
}

void validate_update_by_table(const model::Object& now, const model::Object& before, Problems& problems) {
  const std::string& resource = now.kind().resource;
  for (const auto& fixed : kFixed) {
    if (fixed.resource != resource) continue;
    const auto after = model::find(now, fixed.path), old = model::find(before, fixed.path);
    if (!after.known() || after.text() == old.text()) continue;
    const bool words = fixed.detail.ends_with("forbidden.") || fixed.detail.ends_with("update.");
    const std::string at(fixed.path);
    if (words) {
      problems.forbidden(at, fixed.detail);
    } else if (after.field->scalar == model::Scalar::kString && !after.field->list) {
      problems.invalid(at, after.text(), fixed.detail);
    } else {
      problems.invalid_json(at, after.present() ? after.text() : "null", fixed.detail);
    }
  }
}

std::vector<std::string> unknown_paths() {
  std::vector<std::string> out;
  const auto look = [&](std::string_view resource, std::string_view path) {
    std::string concrete;
    for (size_t i = 0; i < path.size(); ++i) {
      if (path[i] != '!') concrete += path[i] == '*' ? '0' : path[i];
    }
    const auto* kind = model::Schema::get().by_resource(resource);
    if (kind == nullptr || !model::find(*kind->type, nullptr, concrete).known())
      out.push_back(fmt::format("{} {}", resource, path));
  };
  for (const auto& rule : kDefaults) look(rule.resource, rule.path);
  for (const auto& rule : kFixed) look(rule.resource, rule.path);
  return out;
}

}  // namespace gantry::apigw
