#include "services/apigw/rules/tables.h"

#include <arpa/inet.h>
#include <fmt/format.h>

#include <charconv>

#include "libs/model/json.h"
#include "libs/model/names.h"
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
    {"cronjobs", "spec.concurrencyPolicy", "Allow"},
    {"cronjobs", "spec.suspend", "false"},
    {"cronjobs", "spec.successfulJobsHistoryLimit", "3"},
    {"cronjobs", "spec.failedJobsHistoryLimit", "1"},
    {"statefulsets", "spec.replicas", "1"},
    {"statefulsets", "spec.podManagementPolicy", "OrderedReady"},
    {"statefulsets", "spec.revisionHistoryLimit", "10"},
    {"statefulsets", "spec.persistentVolumeClaimRetentionPolicy!.whenDeleted", "Retain"},
    {"statefulsets", "spec.persistentVolumeClaimRetentionPolicy!.whenScaled", "Retain"},
    {"statefulsets", "spec.volumeClaimTemplates[*].spec.volumeMode", "Filesystem"},
    {"statefulsets", "spec.volumeClaimTemplates[*].status!.phase", "Pending"},
    {"daemonsets", "spec.revisionHistoryLimit", "10"},
    {"replicationcontrollers", "spec.replicas", "1"},
    {"horizontalpodautoscalers", "spec.minReplicas", "1"},
    {"networkpolicies", "spec.ingress[*].ports[*].protocol", "TCP"},
    {"networkpolicies", "spec.egress[*].ports[*].protocol", "TCP"},
    {"persistentvolumes", "spec.persistentVolumeReclaimPolicy", "Retain"},
    {"persistentvolumes", "spec.volumeMode", "Filesystem"},
    {"persistentvolumeclaims", "spec.volumeMode", "Filesystem"},
    {"storageclasses", "reclaimPolicy", "Delete"},
    {"storageclasses", "volumeBindingMode", "Immediate"},
    {"rolebindings", "roleRef.apiGroup", "rbac.authorization.k8s.io"},
    {"clusterrolebindings", "roleRef.apiGroup", "rbac.authorization.k8s.io"},
    {"priorityclasses", "preemptionPolicy", "PreemptLowerPriority"},
    {"csidrivers", "spec.attachRequired", "true"},
    {"csidrivers", "spec.podInfoOnMount", "false"},
    {"csidrivers", "spec.storageCapacity", "false"},
    {"csidrivers", "spec.requiresRepublish", "false"},
    {"csidrivers", "spec.seLinuxMount", "false"},
    {"csidrivers", "spec.fsGroupPolicy", "ReadWriteOnceWithFSType"},
    {"ingressclasses", "spec.parameters.scope", "Cluster"},
    {"flowschemas", "spec.matchingPrecedence", "1000"},
    {"prioritylevelconfigurations", "spec.limited.nominalConcurrencyShares", "30"},
    {"prioritylevelconfigurations", "spec.limited.lendablePercent", "0"},
    {"prioritylevelconfigurations", "spec.limited.limitResponse.queuing.queues", "64"},
    {"prioritylevelconfigurations", "spec.limited.limitResponse.queuing.handSize", "8"},
    {"prioritylevelconfigurations", "spec.limited.limitResponse.queuing.queueLengthLimit", "50"},
    {"prioritylevelconfigurations", "spec.exempt.nominalConcurrencyShares", "0"},
    {"prioritylevelconfigurations", "spec.exempt.lendablePercent", "0"},
    {"resourceclaims", "spec.devices.requests[*].exactly.allocationMode", "ExactCount"},
    {"resourceclaimtemplates", "spec.spec.devices.requests[*].exactly.allocationMode", "ExactCount"},
};

enum class Is : uint8_t {
  kRequired,     // there and not empty; `words`: the detail
  kNotNegative,  // >= 0
  kPositive,     // > 0
  kFrom1,        // >= 1
  kOneOf,        // `words`, separated by "|"
  kSubdomain,
  kLabel,
  kQualified,
  kCidr,
  kSchedule,
  kPercent,  // 0 to 100
};

struct Check {
  std::string_view resource, path;
  Is is;
  std::string_view words = {};
};

constexpr std::string_view kModes = "ReadWriteOnce|ReadOnlyMany|ReadWriteMany|ReadWriteOncePod";

constexpr Check kChecks[] = {
    {"jobs", "spec.parallelism", Is::kNotNegative},
    {"jobs", "spec.completions", Is::kNotNegative},
    {"jobs", "spec.activeDeadlineSeconds", Is::kNotNegative},
    {"jobs", "spec.backoffLimit", Is::kNotNegative},
    {"jobs", "spec.ttlSecondsAfterFinished", Is::kNotNegative},
    {"jobs", "spec.backoffLimitPerIndex", Is::kNotNegative},
    {"jobs", "spec.maxFailedIndexes", Is::kNotNegative},
    {"jobs", "spec.completionMode", Is::kOneOf, "Indexed|NonIndexed"},
    {"jobs", "spec.podReplacementPolicy", Is::kOneOf, "Failed|TerminatingOrFailed"},
    {"jobs", "spec.podFailurePolicy.rules[*].action", Is::kOneOf, "Count|FailIndex|FailJob|Ignore"},
    {"jobs", "spec.podFailurePolicy.rules[*].onExitCodes.operator", Is::kOneOf, "In|NotIn"},
    {"jobs", "spec.podFailurePolicy.rules[*].onExitCodes.values", Is::kRequired,
     "at least one value must be specified"},
    {"cronjobs", "spec.schedule", Is::kRequired},
    {"cronjobs", "spec.schedule", Is::kSchedule},
    {"cronjobs", "spec.concurrencyPolicy", Is::kOneOf, "Allow|Forbid|Replace"},
    {"cronjobs", "spec.startingDeadlineSeconds", Is::kNotNegative},
    {"cronjobs", "spec.successfulJobsHistoryLimit", Is::kNotNegative},
    {"cronjobs", "spec.failedJobsHistoryLimit", Is::kNotNegative},
    {"cronjobs", "spec.jobTemplate.spec.parallelism", Is::kNotNegative},
    {"cronjobs", "spec.jobTemplate.spec.completions", Is::kNotNegative},
    {"cronjobs", "spec.jobTemplate.spec.activeDeadlineSeconds", Is::kNotNegative},
    {"cronjobs", "spec.jobTemplate.spec.backoffLimit", Is::kNotNegative},
    {"cronjobs", "spec.jobTemplate.spec.ttlSecondsAfterFinished", Is::kNotNegative},
    {"cronjobs", "spec.jobTemplate.spec.completionMode", Is::kOneOf, "Indexed|NonIndexed"},
    {"statefulsets", "spec.replicas", Is::kNotNegative},
    {"statefulsets", "spec.minReadySeconds", Is::kNotNegative},
    {"statefulsets", "spec.revisionHistoryLimit", Is::kNotNegative},
    {"statefulsets", "spec.ordinals.start", Is::kNotNegative},
    {"statefulsets", "spec.podManagementPolicy", Is::kOneOf, "OrderedReady|Parallel"},
    {"statefulsets", "spec.updateStrategy.type", Is::kOneOf, "OnDelete|RollingUpdate"},
    {"statefulsets", "spec.updateStrategy.rollingUpdate.partition", Is::kNotNegative},
    {"statefulsets", "spec.persistentVolumeClaimRetentionPolicy.whenDeleted", Is::kOneOf, "Delete|Retain"},
    {"statefulsets", "spec.persistentVolumeClaimRetentionPolicy.whenScaled", Is::kOneOf, "Delete|Retain"},
    {"daemonsets", "spec.minReadySeconds", Is::kNotNegative},
    {"daemonsets", "spec.revisionHistoryLimit", Is::kNotNegative},
    {"daemonsets", "spec.updateStrategy.type", Is::kOneOf, "OnDelete|RollingUpdate"},
    {"replicationcontrollers", "spec.replicas", Is::kNotNegative},
    {"replicationcontrollers", "spec.minReadySeconds", Is::kNotNegative},
    {"controllerrevisions", "revision", Is::kNotNegative},
    {"horizontalpodautoscalers", "spec.maxReplicas", Is::kPositive},
    {"horizontalpodautoscalers", "spec.minReplicas", Is::kFrom1},
    {"horizontalpodautoscalers", "spec.scaleTargetRef.kind", Is::kRequired},
    {"horizontalpodautoscalers", "spec.scaleTargetRef.name", Is::kRequired},
    {"horizontalpodautoscalers", "spec.metrics[*].type", Is::kRequired, "must specify a metric source type"},
    {"horizontalpodautoscalers", "spec.metrics[*].type", Is::kOneOf, "ContainerResource|External|Object|Pods|Resource"},
    {"horizontalpodautoscalers", "spec.metrics[*].resource.name", Is::kRequired, "must specify a resource name"},
    {"horizontalpodautoscalers", "spec.metrics[*].resource.target.type", Is::kOneOf, "AverageValue|Utilization|Value"},
    {"horizontalpodautoscalers", "spec.metrics[*].resource.target.averageUtilization", Is::kPositive},
    {"horizontalpodautoscalers", "spec.behavior.scaleUp.stabilizationWindowSeconds", Is::kNotNegative},
    {"horizontalpodautoscalers", "spec.behavior.scaleDown.stabilizationWindowSeconds", Is::kNotNegative},
    {"ingresses", "spec.ingressClassName", Is::kSubdomain},
    {"ingresses", "spec.rules[*].http.paths", Is::kRequired},
    {"ingresses", "spec.rules[*].http.paths[*].pathType", Is::kRequired, "pathType must be specified"},
    {"ingresses", "spec.rules[*].http.paths[*].pathType", Is::kOneOf, "Exact|ImplementationSpecific|Prefix"},
    {"ingresses", "spec.rules[*].http.paths[*].backend.service.name", Is::kRequired},
    {"ingresses", "spec.rules[*].http.paths[*].backend.service.name", Is::kLabel},
    {"ingresses", "spec.defaultBackend.service.name", Is::kRequired},
    {"ingressclasses", "spec.controller", Is::kRequired},
    {"ingressclasses", "spec.parameters.kind", Is::kRequired},
    {"ingressclasses", "spec.parameters.name", Is::kRequired},
    {"ingressclasses", "spec.parameters.scope", Is::kOneOf, "Cluster|Namespace"},
    {"networkpolicies", "spec.policyTypes[*]", Is::kOneOf, "Egress|Ingress"},
    {"networkpolicies", "spec.ingress[*].ports[*].protocol", Is::kOneOf, "SCTP|TCP|UDP"},
    {"networkpolicies", "spec.egress[*].ports[*].protocol", Is::kOneOf, "SCTP|TCP|UDP"},
    {"networkpolicies", "spec.ingress[*].from[*].ipBlock.cidr", Is::kRequired},
    {"networkpolicies", "spec.ingress[*].from[*].ipBlock.cidr", Is::kCidr},
    {"networkpolicies", "spec.egress[*].to[*].ipBlock.cidr", Is::kRequired},
    {"networkpolicies", "spec.egress[*].to[*].ipBlock.cidr", Is::kCidr},
    {"networkpolicies", "spec.ingress[*].from[*].ipBlock.except[*]", Is::kCidr},
    {"networkpolicies", "spec.egress[*].to[*].ipBlock.except[*]", Is::kCidr},
    {"servicecidrs", "spec.cidrs", Is::kRequired, "at least one CIDR must be specified"},
    {"servicecidrs", "spec.cidrs[*]", Is::kCidr},
    {"ipaddresses", "spec.parentRef", Is::kRequired},
    {"ipaddresses", "spec.parentRef.resource", Is::kRequired},
    {"ipaddresses", "spec.parentRef.name", Is::kRequired},
    {"poddisruptionbudgets", "spec.unhealthyPodEvictionPolicy", Is::kOneOf, "AlwaysAllow|IfHealthyBudget"},
    {"persistentvolumes", "spec.capacity", Is::kRequired},
    {"persistentvolumes", "spec.accessModes", Is::kRequired},
    {"persistentvolumes", "spec.accessModes[*]", Is::kOneOf, kModes},
    {"persistentvolumes", "spec.persistentVolumeReclaimPolicy", Is::kOneOf, "Delete|Recycle|Retain"},
    {"persistentvolumes", "spec.volumeMode", Is::kOneOf, "Block|Filesystem"},
    {"persistentvolumes", "spec.storageClassName", Is::kSubdomain},
    {"persistentvolumeclaims", "spec.accessModes", Is::kRequired, "at least 1 access mode is required"},
    {"persistentvolumeclaims", "spec.accessModes[*]", Is::kOneOf, kModes},
    {"persistentvolumeclaims", "spec.volumeMode", Is::kOneOf, "Block|Filesystem"},
    {"persistentvolumeclaims", "spec.storageClassName", Is::kSubdomain},
    {"statefulsets", "spec.volumeClaimTemplates[*].spec.accessModes", Is::kRequired,
     "at least 1 access mode is required"},
    {"statefulsets", "spec.volumeClaimTemplates[*].spec.accessModes[*]", Is::kOneOf, kModes},
    {"storageclasses", "provisioner", Is::kRequired},
    {"storageclasses", "reclaimPolicy", Is::kOneOf, "Delete|Retain"},
    {"storageclasses", "volumeBindingMode", Is::kOneOf, "Immediate|WaitForFirstConsumer"},
    {"csidrivers", "spec.fsGroupPolicy", Is::kOneOf, "File|None|ReadWriteOnceWithFSType"},
    {"csidrivers", "spec.volumeLifecycleModes[*]", Is::kOneOf, "Ephemeral|Persistent"},
    {"csinodes", "spec.drivers[*].name", Is::kRequired},
    {"csinodes", "spec.drivers[*].nodeID", Is::kRequired},
    {"csistoragecapacities", "storageClassName", Is::kRequired},
    {"volumeattachments", "spec.attacher", Is::kRequired},
    {"volumeattachments", "spec.nodeName", Is::kRequired},
    {"volumeattachments", "spec.source", Is::kRequired},
    {"volumeattributesclasses", "driverName", Is::kRequired},
    {"roles", "rules[*].verbs", Is::kRequired, "verbs must contain at least one value"},
    {"clusterroles", "rules[*].verbs", Is::kRequired, "verbs must contain at least one value"},
    {"rolebindings", "roleRef.apiGroup", Is::kOneOf, "rbac.authorization.k8s.io"},
    {"rolebindings", "roleRef.kind", Is::kOneOf, "ClusterRole|Role"},
    {"rolebindings", "roleRef.name", Is::kRequired},
    {"rolebindings", "subjects[*].name", Is::kRequired},
    {"rolebindings", "subjects[*].kind", Is::kOneOf, "Group|ServiceAccount|User"},
    {"clusterrolebindings", "roleRef.apiGroup", Is::kOneOf, "rbac.authorization.k8s.io"},
    {"clusterrolebindings", "roleRef.kind", Is::kOneOf, "ClusterRole"},
    {"clusterrolebindings", "roleRef.name", Is::kRequired},
    {"clusterrolebindings", "subjects[*].name", Is::kRequired},
    {"clusterrolebindings", "subjects[*].kind", Is::kOneOf, "Group|ServiceAccount|User"},
    {"priorityclasses", "preemptionPolicy", Is::kOneOf, "Never|PreemptLowerPriority"},
    {"runtimeclasses", "handler", Is::kRequired},
    {"runtimeclasses", "handler", Is::kLabel},
    {"limitranges", "spec.limits[*].type", Is::kRequired},
    {"resourcequotas", "spec.scopes[*]", Is::kOneOf,
     "BestEffort|CrossNamespacePodAffinity|NotBestEffort|NotTerminating|PriorityClass|Terminating|"
     "VolumeAttributesClass"},
    {"certificatesigningrequests", "spec.request", Is::kRequired},
    {"certificatesigningrequests", "spec.signerName", Is::kRequired},
    {"certificatesigningrequests", "spec.usages", Is::kRequired, "usages is required"},
    {"flowschemas", "spec.priorityLevelConfiguration.name", Is::kRequired, "must reference a priority level"},
    {"flowschemas", "spec.distinguisherMethod.type", Is::kOneOf, "ByNamespace|ByUser"},
    {"prioritylevelconfigurations", "spec.type", Is::kOneOf, "Exempt|Limited"},
    {"prioritylevelconfigurations", "spec.limited.lendablePercent", Is::kPercent},
    {"resourceclaims", "spec.devices.requests[*].name", Is::kRequired},
    {"resourceclaims", "spec.devices.requests[*].exactly.deviceClassName", Is::kRequired},
    {"resourceclaimtemplates", "spec.spec.devices.requests[*].name", Is::kRequired},
    {"resourceslices", "spec.driver", Is::kRequired},
    {"resourceslices", "spec.pool.name", Is::kRequired},
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
    {"priorityclasses", "preemptionPolicy", "may not be changed in an update."},
    {"runtimeclasses", "handler"},
    {"ingressclasses", "spec.controller"},
    {"ipaddresses", "spec.parentRef"},
    {"servicecidrs", "spec.cidrs"},
    {"certificatesigningrequests", "spec", "updates to the spec are forbidden"},
    {"resourceclaims", "spec"},
    {"resourceclaimtemplates", "spec"},
};

int64_t number_at(const model::Object& object, const std::string& path) {
  return std::strtoll(model::text_at(object, path).c_str(), nullptr, 10);
}

bool empty(const model::Found& found) {
  if (!found.present()) return true;
  if (found.field->list && found.index < 0)
    return found.parent->GetPointer<const flatbuffers::VectorOfAny*>(found.field->slot)->size() == 0;
  return found.field->scalar == model::Scalar::kString && found.text().empty();
}

void check_one(const model::Object& object, const Check& check, const std::string& at, Problems& problems) {
  const auto found = model::find(object, at);
  if (!found.known()) return;  // unknown_paths() finds it
  if (check.is == Is::kRequired) {
    if (empty(found)) problems.required(at, check.words);
    return;
  }
  if (check.is == Is::kPositive && !found.present() && found.field->mandatory)
    return problems.invalid(at, 0, "must be greater than 0");
  if (!found.present()) return;
  const std::string text = found.text();
  switch (check.is) {
    case Is::kNotNegative:
      if (number_at(object, at) < 0) problems.invalid(at, number_at(object, at), "must be greater than or equal to 0");
      break;
    case Is::kPositive:
      if (number_at(object, at) <= 0) problems.invalid(at, number_at(object, at), "must be greater than 0");
      break;
    case Is::kFrom1:
      if (number_at(object, at) < 1) problems.invalid(at, number_at(object, at), "must be greater than or equal to 1");
      break;
    case Is::kPercent:
      if (number_at(object, at) < 0 || number_at(object, at) > 100)
        problems.invalid(at, number_at(object, at), "must be between 0 and 100, inclusive");
      break;
    case Is::kOneOf: {
      std::vector<std::string_view> words;
      for (std::string_view rest = check.words; !rest.empty();) {
        const size_t end = std::min(rest.find('|'), rest.size());
        words.push_back(rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
      }
      if (std::find(words.begin(), words.end(), text) == words.end()) problems.unsupported(at, text, words);
      break;
    }
    case Is::kSubdomain:
      if (!text.empty()) problems.check(at, text, model::check_dns_subdomain(text));
      break;
    case Is::kLabel:
      if (!text.empty()) problems.check(at, text, model::check_dns_label(text));
      break;
    case Is::kQualified:
      problems.check(at, text, model::check_qualified_name(text));
      break;
    case Is::kCidr:
      if (!text.empty()) problems.check(at, text, check_cidr(text));
      break;
    case Is::kSchedule:
      if (!text.empty()) problems.check(at, text, check_schedule(text));
      break;
    case Is::kRequired:
      break;
  }
}

void set_default(model::Draft& draft, const model::Found& where, const std::string& at, std::string_view value) {
  switch (where.field->scalar) {
    case model::Scalar::kBool:
      return draft.set(at, value == "true");
    case model::Scalar::kInt32:
    case model::Scalar::kInt64:
      return draft.set(at, static_cast<int64_t>(std::strtoll(std::string(value).c_str(), nullptr, 10)));
    default:
      return draft.set(at, value);
  }
}

/// One field of a crontab line: numbers, names, ranges, steps and lists of them.
bool schedule_field(std::string_view field, int low, int high, std::string_view names) {
  const auto value = [&](std::string_view text, int& out) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), out);
    if (error == std::errc() && end == text.data() + text.size()) return out >= low && out <= high;
    std::string lower(text);
    for (char& c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const size_t at = lower.size() == 3 ? names.find(lower) : std::string_view::npos;
    out = at == std::string_view::npos ? -1 : static_cast<int>(at / 3) + low;
    return at != std::string_view::npos && at % 3 == 0;
  };
  while (true) {
    const size_t comma = std::min(field.find(','), field.size());
    std::string_view part = field.substr(0, comma);
    if (const size_t slash = part.find('/'); slash != std::string_view::npos) {
      int step = 0;
      const auto text = part.substr(slash + 1);
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), step);
      if (error != std::errc() || end != text.data() + text.size() || step <= 0) return false;
      part = part.substr(0, slash);
    }
    if (part != "*" && part != "?") {
      const size_t dash = part.find('-');
      int from = 0, to = 0;
      if (!value(part.substr(0, dash), from)) return false;
      if (dash != std::string_view::npos && (!value(part.substr(dash + 1), to) || to < from)) return false;
    }
    if (comma == field.size()) return true;
    field.remove_prefix(comma + 1);
  }
}

}  // namespace

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
      if (found.known() && !found.present()) set_default(draft, found, full, rule.value);
    });
  }
}

void validate_by_table(const model::Object& object, Problems& problems) {
  const std::string& resource = object.kind().resource;
  for (const auto& check : kChecks) {
    if (check.resource != resource) continue;
    each_path(object, check.path, [&](const std::string& at) { check_one(object, check, at, problems); });
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
  for (const auto& rule : kChecks) look(rule.resource, rule.path);
  for (const auto& rule : kFixed) look(rule.resource, rule.path);
  return out;
}

std::string check_cidr(std::string_view cidr) {
  constexpr const char* kBad = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
  const size_t slash = cidr.find('/');
  if (slash == std::string_view::npos) return kBad;
  const std::string address(cidr.substr(0, slash));
  unsigned char bytes[16];
  const bool four = inet_pton(AF_INET, address.c_str(), bytes) == 1;
  if (!four && inet_pton(AF_INET6, address.c_str(), bytes) != 1) return kBad;
  int bits = -1;
  const auto tail = cidr.substr(slash + 1);
  const auto [end, error] = std::from_chars(tail.data(), tail.data() + tail.size(), bits);
  const bool good = error == std::errc() && end == tail.data() + tail.size() && bits >= 0 && bits <= (four ? 32 : 128);
  return good ? "" : kBad;
}

std::string check_schedule(std::string_view schedule) {
  if (schedule.starts_with("TZ=") || schedule.starts_with("CRON_TZ="))
    return "cannot use TZ or CRON_TZ in schedule, use timeZone field instead";
  if (schedule.starts_with("@")) {
    for (const char* word : {"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}) {
      if (schedule == word) return "";
    }
    const bool every = schedule.starts_with("@every ") && schedule.size() > 8 &&
                       std::isdigit(static_cast<unsigned char>(schedule[7])) != 0;
    return every ? "" : fmt::format("unrecognized descriptor: {}", schedule);
  }
  std::vector<std::string_view> fields;
  for (std::string_view rest = schedule; !rest.empty();) {
    const size_t end = std::min(rest.find_first_of(" \t"), rest.size());
    if (end > 0) fields.push_back(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  if (fields.size() != 5) return fmt::format("expected exactly 5 fields, found {}: {}", fields.size(), schedule);
  const bool good = schedule_field(fields[0], 0, 59, "") && schedule_field(fields[1], 0, 23, "") &&
                    schedule_field(fields[2], 1, 31, "") &&
                    schedule_field(fields[3], 1, 12, "janfebmaraprmayjunjulaugsepoctnovdec") &&
                    schedule_field(fields[4], 0, 6, "sunmontuewedthufrisat");
  return good ? "" : fmt::format("failed to parse schedule: {}", schedule);
}

}  // namespace gantry::apigw
