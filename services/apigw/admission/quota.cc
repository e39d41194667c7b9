#include "services/apigw/admission/quota.h"

#include <fmt/format.h>

#include "libs/model/workload.h"
#include "schemas/api/core_more_v1_generated.h"
#include "services/apigw/admission/admission.h"

namespace gantry::apigw {
namespace {

using model::Quantity;
using model::str;
namespace core = api::core_v1;

std::string group_resource(const model::Kind& kind) {
  return kind.group.empty() ? kind.resource : kind.resource + "." + kind.group;
}

void use_pod(const model::Object& object, Amounts& usage) {
  const auto& pod = *object.as<core::Pod>();
  if (model::pod_terminal(pod) || pod.spec() == nullptr) return;
  usage["pods"] = Quantity::from_value(1);
  const PodResources all = resources_of(*pod.spec());
  for (const auto& [name, value] : all.requests) {
    if (name == "cpu" || name == "memory" || name == "ephemeral-storage") usage[name] = value;
    usage["requests." + name] = value;
  }
  for (const auto& [name, value] : all.limits) usage["limits." + name] = value;
}

void use_claim(const model::Object& object, Amounts& usage) {
  usage["persistentvolumeclaims"] = Quantity::from_value(1);
  const auto* spec = object.as<core::PersistentVolumeClaim>()->spec();
  const std::string name(spec == nullptr ? std::string_view() : str(spec->storage_class_name()));
  const std::string of_class = name + ".storageclass.storage.k8s.io/";
  if (!name.empty()) usage[of_class + "persistentvolumeclaims"] = Quantity::from_value(1);
  if (spec == nullptr || spec->resources() == nullptr) return;
  const Amounts requests = amounts(spec->resources()->requests());
  const auto storage = requests.find("storage");
  if (storage == requests.end()) return;
  usage["requests.storage"] = storage->second;
  if (!name.empty()) usage[of_class + "requests.storage"] = storage->second;
}

void use_service(const model::Object& object, Amounts& usage) {
  usage["services"] = Quantity::from_value(1);
  const auto* spec = object.as<core::Service>()->spec();
  if (spec == nullptr) return;
  int64_t node_ports = 0;
  const std::string_view type = str(spec->type());
  const bool balanced = type == "LoadBalancer";
  if (type == "NodePort" || (balanced && spec->allocate_load_balancer_node_ports().value_or(true)))
    node_ports = spec->ports() == nullptr ? 0 : spec->ports()->size();
  usage["services.nodeports"] = Quantity::from_value(node_ports);
  usage["services.loadbalancers"] = Quantity::from_value(balanced ? 1 : 0);
}

bool pod_in_scope(const core::Pod& pod, const model::Object& object, std::string_view scope, std::string_view op,
                  const std::vector<std::string>& values) {
  const bool deadline = pod.spec()->active_deadline_seconds().has_value();
  const bool best_effort = std::string_view(qos_class(object)) == "BestEffort";
  if (scope == "Terminating") return deadline;
  if (scope == "NotTerminating") return !deadline;
  if (scope == "BestEffort") return best_effort;
  if (scope == "NotBestEffort") return !best_effort;
  if (scope == "PriorityClass") {
    const std::string_view name = str(pod.spec()->priority_class_name());
    const bool among = std::find(values.begin(), values.end(), name) != values.end();
    if (op == "In") return among;
    if (op == "NotIn") return !among;
    if (op == "DoesNotExist") return name.empty();
    return !name.empty();
  }
  if (scope == "CrossNamespacePodAffinity") {
    const auto crosses = [](const auto* terms) {
      for (flatbuffers::uoffset_t i = 0; terms != nullptr && i < terms->size(); ++i) {
        const auto* term = terms->Get(i);
        if ((term->namespaces() != nullptr && term->namespaces()->size() > 0) || term->namespace_selector() != nullptr)
          return true;
      }
      return false;
    };
    const auto crosses_weighted = [](const auto* terms) {
      for (flatbuffers::uoffset_t i = 0; terms != nullptr && i < terms->size(); ++i) {
        const auto* term = terms->Get(i)->pod_affinity_term();
        if (term != nullptr && ((term->namespaces() != nullptr && term->namespaces()->size() > 0) ||
                                term->namespace_selector() != nullptr))
          return true;
      }
      return false;
    };
    const auto* affinity = pod.spec()->affinity();
    if (affinity == nullptr) return false;
    const auto* with = affinity->pod_affinity();
    const auto* against = affinity->pod_anti_affinity();
    return (with != nullptr && (crosses(with->required_during_scheduling_ignored_during_execution()) ||
                                crosses_weighted(with->preferred_during_scheduling_ignored_during_execution()))) ||
           (against != nullptr && (crosses(against->required_during_scheduling_ignored_during_execution()) ||
                                   crosses_weighted(against->preferred_during_scheduling_ignored_during_execution())));
  }
  return false;
}

// In thousandths: cpu by whatever name.
bool fractional(std::string_view resource) { return resource == "cpu" || resource.ends_with(".cpu"); }

// Compute resources that a pod must say when a quota limits them.
void check_said(const model::Object& quota, const model::Object& pod, std::string& missing) {
  const auto* spec = pod.as<core::Pod>()->spec();
  for (const auto& [resource, hard] : quota_hard(quota)) {
    const bool request =
        resource == "cpu" || resource == "memory" || resource == "requests.cpu" || resource == "requests.memory";
    const bool limit = resource == "limits.cpu" || resource == "limits.memory";
    if (!request && !limit) continue;
    const std::string name = resource.substr(resource.rfind('.') == std::string::npos ? 0 : resource.rfind('.') + 1);
    std::string who;
    const auto look = [&](const auto* containers) {
      for (flatbuffers::uoffset_t i = 0; containers != nullptr && i < containers->size(); ++i) {
        const auto* resources = containers->Get(i)->resources();
        const auto* map = resources == nullptr ? nullptr : limit ? resources->limits() : resources->requests();
        if (model::lookup(map, name) == nullptr)
          who += (who.empty() ? "" : ",") + std::string(str(containers->Get(i)->name()));
      }
    };
    look(spec->init_containers());
    look(spec->containers());
    if (!who.empty()) missing += fmt::format("{}{} for: {}", missing.empty() ? "" : "; ", resource, who);
  }
}

}  // namespace

std::string quota_account(const model::Object& quota, std::string_view resource) {
  return fmt::format("{}/{}", quota.uid(), resource);
}

Amounts quota_hard(const model::Object& quota) {
  const auto* spec = quota.as<core::ResourceQuota>()->spec();
  return spec == nullptr ? Amounts() : amounts(spec->hard());
}

Amounts quota_tracked(const model::Object& quota) {
  const auto* status = quota.as<core::ResourceQuota>()->status();
  return status == nullptr ? Amounts() : amounts(status->hard());
}

std::string quota_counter(std::string_view ns) { return fmt::format("quotas/{}", ns); }

Amounts usage_of(const model::Object& object) {
  Amounts usage;
  const model::Kind& kind = object.kind();
  usage["count/" + group_resource(kind)] = Quantity::from_value(1);
  if (!kind.group.empty()) return usage;
  if (kind.resource == "pods") use_pod(object, usage);
  if (kind.resource == "persistentvolumeclaims") use_claim(object, usage);
  if (kind.resource == "services") use_service(object, usage);
  for (const char* plain : {"configmaps", "secrets", "replicationcontrollers", "resourcequotas"}) {
    if (kind.resource == plain) usage[plain] = Quantity::from_value(1);
  }
  return usage;
}

bool quota_covers(const model::Object& quota, const model::Object& object) {
  const auto* spec = quota.as<core::ResourceQuota>()->spec();
  if (spec == nullptr) return false;
  const bool pod = object.kind().resource == "pods";
  const auto in_scope = [&](std::string_view scope, std::string_view op, const std::vector<std::string>& values) {
    return pod && object.as<core::Pod>()->spec() != nullptr &&
           pod_in_scope(*object.as<core::Pod>(), object, scope, op, values);
  };
  if (spec->scopes() != nullptr) {
    for (const auto* scope : *spec->scopes()) {
      if (!in_scope(str(scope), "Exists", {})) return false;
    }
  }
  if (spec->scope_selector() != nullptr && spec->scope_selector()->match_expressions() != nullptr) {
    for (const auto* one : *spec->scope_selector()->match_expressions()) {
      std::vector<std::string> values;
      for (flatbuffers::uoffset_t i = 0; one->values() != nullptr && i < one->values()->size(); ++i)
        values.emplace_back(str(one->values()->Get(i)));
      if (!in_scope(str(one->scope_name()), str(one->operator_()), values)) return false;
    }
  }
  return true;
}

Amounts shares_of(const model::Object& quota, const model::Object& object) {
  Amounts shares;
  if (!object || !quota_covers(quota, object)) return shares;
  const Amounts usage = usage_of(object);
  for (const auto& [resource, hard] : quota_hard(quota)) {
    if (const auto used = usage.find(resource); used != usage.end()) shares[resource] = used->second;
  }
  return shares;
}

int64_t share_number(std::string_view resource, const Quantity& amount) {
  return fractional(resource) ? amount.milli() : amount.value();
}

std::string print_share(std::string_view resource, int64_t number) {
  if (fractional(resource)) return Quantity::from_milli(number).to_string();
  const bool bytes =
      resource.find("memory") != std::string_view::npos || resource.find("storage") != std::string_view::npos;
  return (bytes && resource.find("persistentvolumeclaims") == std::string_view::npos ? Quantity::from_bytes(number)
                                                                                     : Quantity::from_value(number))
      .to_string();
}

model::Object untrack_new_resources(const AdmissionRequest& a, const model::Object& quota) {
  const Amounts before = quota_hard(a.before), tracked = quota_tracked(quota);
  model::Draft draft(quota);
  bool changed = false;
  for (const auto& [resource, hard] : tracked) {
    if (before.contains(resource)) continue;
    draft.clear(fmt::format("status.hard[{}]", resource));
    changed = true;
  }
  return changed ? draft.build() : quota;
}

Status charge_quotas(AdmissionRequest& a, const model::Object& object) {
  if (!a.kind.namespaced || a.ns.empty() || a.kind.resource == "events") return Done{};
  const model::Object& any = object ? object : a.before;
  uint64_t quotas = 0;
  Status refused = Done{};
  a.objects.visit_objects("resourcequotas", a.ns, [&](const model::Object& quota) {
    ++quotas;
    if (!refused.ok()) return;
    const Amounts shares = shares_of(quota, object), had = a.before ? shares_of(quota, a.before) : Amounts();
    const Amounts tracked = quota_tracked(quota);
    if (a.creates() && a.kind.resource == "pods" && quota_covers(quota, object)) {
      std::string missing;
      check_said(quota, object, missing);
      if (!missing.empty()) {
        a.unsure.emplace_back("resourcequotas");
        refused =
            forbidden(a.kind, any.name(), fmt::format("failed quota: {}: must specify {}", quota.name(), missing));
        return;
      }
    }
    for (const auto& [resource, hard] : quota_hard(quota)) {
      const auto now = shares.find(resource), before = had.find(resource);
      const int64_t amount = now == shares.end() ? 0 : share_number(resource, now->second);
      const int64_t old = before == had.end() ? 0 : share_number(resource, before->second);
      if (amount == old) continue;
      if (amount > old && tracked.find(resource) == tracked.end()) {
        // What was there before the quota is not on its account yet.
        a.unsure.emplace_back("resourcequotas");
        a.pending = true;
        refused =
            Error{Code::kForbidden, fmt::format("{} \"{}\" is forbidden: status unknown for quota: {}, resources: {}",
                                                qualified_resource(a.kind), any.name(), quota.name(), resource)};
        return;
      }
      a.operations.push_back({.kind = state::Operation::Kind::kShare,
                              .uid = std::string(any.uid()),
                              .text = quota_account(quota, resource),
                              .number = static_cast<uint64_t>(amount),
                              .delta = amount > old ? share_number(resource, hard) : -1});
    }
  });
  if (!refused.ok()) return refused;
  // A quota that this gateway has not heard of yet would not be asked.
  if (a.kind.resource == "resourcequotas") {
    if (a.creates())
      a.operations.push_back({.kind = state::Operation::Kind::kCount, .text = quota_counter(a.ns), .delta = 1});
    if (!object) {
      a.operations.push_back({.kind = state::Operation::Kind::kCount, .text = quota_counter(a.ns), .delta = -1});
      for (const auto& [resource, hard] : quota_hard(a.before))
        a.operations.push_back(
            {.kind = state::Operation::Kind::kCloseAccount, .text = quota_account(a.before, resource)});
    }
  } else if (a.creates()) {
    a.guards.push_back({.kind = state::Guard::Kind::kCounter, .text = quota_counter(a.ns), .number = quotas});
  }
  return Done{};
}

std::optional<Error> exceeded_quota(const AdmissionRequest& a, const model::Object& object, std::string_view account,
                                    int64_t used) {
  std::optional<Error> error;
  a.objects.visit_objects("resourcequotas", a.ns, [&](const model::Object& quota) {
    for (const auto& [resource, hard] : quota_hard(quota)) {
      if (quota_account(quota, resource) != account) continue;
      const Amounts shares = shares_of(quota, object);
      const auto wanted = shares.find(resource);
      error = forbidden(a.kind, object.name(),
                        fmt::format("exceeded quota: {}, requested: {}={}, used: {}={}, limited: {}={}", quota.name(),
                                    resource, wanted == shares.end() ? "0" : wanted->second.to_string(), resource,
                                    print_share(resource, used), resource, hard.to_string()));
    }
  });
  return error;
}

}  // namespace gantry::apigw
