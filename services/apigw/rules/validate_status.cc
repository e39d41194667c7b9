// What the status of a kind may be, and what of it may not change: counts that cannot be, states that nobody leaves.
#include <charconv>
#include <set>

#include "libs/model/names.h"
#include "libs/model/walk.h"
#include "schemas/api/batch_v1_generated.h"
#include "schemas/api/core_more_v1_generated.h"
#include "schemas/api/networking_v1_generated.h"
#include "schemas/api/policy_more_v1_generated.h"
#include "schemas/api/resource_v1_generated.h"
#include "services/apigw/rules/programs.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

using flatbuffers::uoffset_t;
using model::Object;
using model::str;
namespace core = api::core_v1;

int64_t number_at(const Object& object, std::string_view path) {
  const std::string text = model::text_at(object, path);
  int64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

/// A count below zero cannot be; one above `most` (another count) neither.
struct Count {
  std::string_view resource, path, most = {}, detail = {};
};

constexpr std::string_view kAboveReplicas = "cannot be greater than status.replicas";
constexpr std::string_view kAboveReady = "cannot be greater than readyReplicas";

constexpr Count kCounts[] = {
    {"deployments", "status.observedGeneration"},
    {"deployments", "status.replicas"},
    {"deployments", "status.updatedReplicas", "status.replicas", kAboveReplicas},
    {"deployments", "status.readyReplicas", "status.replicas", kAboveReplicas},
    {"deployments", "status.availableReplicas", "status.replicas", kAboveReplicas},
    {"deployments", "status.availableReplicas", "status.readyReplicas", kAboveReady},
    {"deployments", "status.unavailableReplicas"},
    {"deployments", "status.terminatingReplicas"},
    {"deployments", "status.collisionCount"},
    {"replicasets", "status.observedGeneration"},
    {"replicasets", "status.replicas"},
    {"replicasets", "status.fullyLabeledReplicas", "status.replicas", kAboveReplicas},
    {"replicasets", "status.readyReplicas", "status.replicas", kAboveReplicas},
    {"replicasets", "status.availableReplicas", "status.replicas", kAboveReplicas},
    {"replicasets", "status.availableReplicas", "status.readyReplicas", kAboveReady},
    {"replicasets", "status.terminatingReplicas"},
    {"replicationcontrollers", "status.observedGeneration"},
    {"replicationcontrollers", "status.replicas"},
    {"replicationcontrollers", "status.fullyLabeledReplicas", "status.replicas", kAboveReplicas},
    {"replicationcontrollers", "status.readyReplicas", "status.replicas", kAboveReplicas},
    {"replicationcontrollers", "status.availableReplicas", "status.replicas", kAboveReplicas},
    {"replicationcontrollers", "status.availableReplicas", "status.readyReplicas", kAboveReady},
    {"statefulsets", "status.observedGeneration"},
    {"statefulsets", "status.replicas"},
    {"statefulsets", "status.readyReplicas", "status.replicas", kAboveReplicas},
    {"statefulsets", "status.currentReplicas", "status.replicas", kAboveReplicas},
    {"statefulsets", "status.updatedReplicas", "status.replicas", kAboveReplicas},
    {"statefulsets", "status.availableReplicas", "status.replicas", kAboveReplicas},
    {"statefulsets", "status.availableReplicas", "status.readyReplicas", "cannot be greater than status.readyReplicas"},
    {"statefulsets", "status.collisionCount"},
    {"daemonsets", "status.currentNumberScheduled"},
    {"daemonsets", "status.numberMisscheduled"},
    {"daemonsets", "status.desiredNumberScheduled"},
    {"daemonsets", "status.numberReady"},
    {"daemonsets", "status.observedGeneration"},
    {"daemonsets", "status.updatedNumberScheduled"},
    {"daemonsets", "status.numberAvailable"},
    {"daemonsets", "status.numberUnavailable"},
    {"daemonsets", "status.collisionCount"},
    {"jobs", "status.active"},
    {"jobs", "status.succeeded"},
    {"jobs", "status.failed"},
    {"jobs", "status.ready", "status.active", "cannot be greater than status.active"},
    {"jobs", "status.terminating"},
    {"poddisruptionbudgets", "status.disruptionsAllowed"},
    {"poddisruptionbudgets", "status.currentHealthy"},
    {"poddisruptionbudgets", "status.desiredHealthy"},
    {"poddisruptionbudgets", "status.expectedPods"},
    {"horizontalpodautoscalers", "status.currentReplicas"},
    {"horizontalpodautoscalers", "status.desiredReplicas"},
    {"pods", "status.observedGeneration"},
};

void counts(const Object& now, const Object& before, Problems& problems) {
  for (const auto& rule : kCounts) {
    if (rule.resource != now.kind().resource) continue;
    const int64_t value = number_at(now, rule.path);
    const std::string path(rule.path);
    if (value < 0) {
      if (!problems.about(path)) problems.invalid(path, value, kNotNegative);
    } else if (!rule.most.empty() && value > number_at(now, rule.most)) {
      problems.invalid(path, value, rule.detail);
    } else if (path == "status.collisionCount" && value < number_at(before, path)) {
      problems.invalid(path, value, "cannot be decremented");
    }
  }
}

/// Of the enums that the schema has for a status.
void one_of_enum(const Object& now, std::string_view path, Problems& problems) {
  const auto found = model::find(now, path);
  const std::string text = found.text();
  if (!found.known() || text.empty() || found.field->enum_values.empty()) return;
  const auto& words = found.field->enum_values;
  if (std::find(words.begin(), words.end(), text) == words.end())
    problems.unsupported(std::string(path), text, {words.begin(), words.end()});
}

void quantities(const model::Labels* list, const std::string& at, Problems& problems) {
  for (uoffset_t i = 0; i < count(list); ++i) {
    const auto value = model::Quantity::parse(str(list->Get(i)->value()));
    if (value.ok() && *value < model::Quantity())
      problems.invalid(fmt::format("{}[{}]", at, str(list->Get(i)->key())), str(list->Get(i)->value()), kNotNegative);
  }
}

/// Conditions of metav1, which need more than others.
void conditions(const auto* list, const std::string& at, Problems& problems) {
  std::set<std::string_view> types;
  for (uoffset_t i = 0; i < count(list); ++i) {
    const auto& one = *list->Get(i);
    const std::string path = fmt::format("{}[{}]", at, i);
    if (str(one.type()).empty()) problems.required(path + ".type");
    problems.check(path + ".type", str(one.type()),
                   str(one.type()).empty() ? "" : model::check_qualified_name(str(one.type())));
    if (!types.insert(str(one.type())).second) problems.duplicate(path + ".type", str(one.type()));
    if (!one_of(str(one.status()), {"True", "False", "Unknown"}))
      problems.unsupported(path + ".status", str(one.status()), {"False", "True", "Unknown"});
    if (one.observed_generation().value_or(0) < 0)
      problems.invalid(path + ".observedGeneration", *one.observed_generation(), kNotNegative);
    if (!one.last_transition_time()) problems.required(path + ".lastTransitionTime", "must be set");
    if (str(one.reason()).empty()) problems.required(path + ".reason", "must be set");
  }
}

// --- pods

// By its own rules, else its own policy, else the pod's.
bool starts_again(const core::PodSpec* spec, std::string_view name, int code) {
  std::string_view policy = spec == nullptr ? std::string_view() : str(spec->restart_policy());
  for (uoffset_t i = 0; spec != nullptr && i < count(spec->containers()); ++i) {
    const auto& c = *spec->containers()->Get(i);
    if (str(c.name()) != name) continue;
    for (uoffset_t j = 0; j < count(c.restart_policy_rules()); ++j) {
      const auto* codes = c.restart_policy_rules()->Get(j)->exit_codes();
      bool listed = false;
      for (uoffset_t k = 0; codes != nullptr && k < count(codes->values()); ++k)
        listed = listed || codes->values()->Get(k) == code;
      if (codes != nullptr && listed == (str(codes->operator_()) == "In")) return true;
    }
    if (c.restart_policy() != nullptr) policy = str(c.restart_policy());
  }
  return policy == "Always" || policy.empty() || (policy == "OnFailure" && code != 0);
}

// Who does not restart its containers does not see them run again.
void states(const core::Pod& now, const core::Pod& before, Problems& problems) {
  const auto* old_list = before.status() == nullptr ? nullptr : before.status()->container_statuses();
  const auto* list = now.status() == nullptr ? nullptr : now.status()->container_statuses();
  for (uoffset_t i = 0; i < count(old_list); ++i) {
    const auto& old = *old_list->Get(i);
    const auto* ended = old.state() == nullptr ? nullptr : old.state()->terminated();
    if (ended == nullptr || starts_again(before.spec(), str(old.name()), ended->exit_code().value_or(0))) continue;
    for (uoffset_t j = 0; j < count(list); ++j) {
      const auto& one = *list->Get(j);
      const bool again = one.state() == nullptr || one.state()->terminated() == nullptr;
      if (again && str(one.name()) == str(old.name()))
        problems.forbidden(fmt::format("status.containerStatuses[{}].state", i),
                           "may not be transitioned to non-terminated state");
    }
  }
}

void pod(const Object& now, const Object& before, Problems& problems) {
  one_of_enum(now, "status.phase", problems);
  states(*now.as<core::Pod>(), *before.as<core::Pod>(), problems);
  const auto* status = now.as<core::Pod>()->status();
  if (status == nullptr) return;
  problems.check(
      "status.nominatedNodeName", str(status->nominated_node_name()),
      str(status->nominated_node_name()).empty() ? "" : model::check_dns_subdomain(str(status->nominated_node_name())));
  const auto qos = model::text_at(before, "status.qosClass");
  if (!qos.empty() && str(status->qos_class()) != qos)
    problems.invalid("status.qosClass", str(status->qos_class()), kImmutable);
  int families[2] = {0, 0};
  for (uoffset_t i = 0; i < count(status->pod_ips()); ++i) {
    const std::string_view ip = str(status->pod_ips()->Get(i)->ip());
    const std::string path = fmt::format("status.podIPs[{}]", i);
    problems.check(path, ip, check_ip(ip));
    ++families[ip.find(':') == std::string_view::npos ? 0 : 1];
  }
  if (families[0] > 1 || families[1] > 1)
    problems.invalid_json("status.podIPs", "null", "may specify no more than one IP for each IP family");
  if (!str(status->pod_ip()).empty())
    problems.check("status.podIP", str(status->pod_ip()), check_ip(str(status->pod_ip())));
  for (uoffset_t i = 0; i < count(status->container_statuses()); ++i) {
    const int restarts = status->container_statuses()->Get(i)->restart_count().value_or(0);
    if (restarts < 0)
      problems.invalid(fmt::format("status.containerStatuses[{}].restartCount", i), restarts, kNotNegative);
  }
}

// --- jobs

bool has_condition(const api::batch_v1::JobStatus* status, std::string_view type) {
  for (uoffset_t i = 0; status != nullptr && i < count(status->conditions()); ++i) {
    const auto& one = *status->conditions()->Get(i);
    if (str(one.type()) == type && str(one.status()) == "True") return true;
  }
  return false;
}

void job(const Object& now, const Object& before, Problems& problems) {
  const auto *status = now.as<api::batch_v1::Job>()->status(), *old = before.as<api::batch_v1::Job>()->status();
  const bool complete = has_condition(status, "Complete"), failed = has_condition(status, "Failed");
  if (complete && failed)
    problems.invalid_json("status.conditions", "null", "Complete=True and Failed=True conditions cannot be both set");
  for (const char* final : {"Complete", "Failed"}) {
    if (has_condition(old, final) && !has_condition(status, final))
      problems.invalid_json("status.conditions", "null",
                            fmt::format("cannot disable the terminal {}=True condition", final));
  }
  const bool finished = status != nullptr && status->completion_time().has_value();
  if (finished && !complete)
    problems.invalid("status.completionTime", model::text_at(now, "status.completionTime"),
                     "cannot set completionTime when there is no Complete=True condition");
  if (old != nullptr && old->completion_time() && (!finished || *old->completion_time() != *status->completion_time()))
    problems.invalid("status.completionTime", model::text_at(now, "status.completionTime"), kImmutable);
  if (finished && status->start_time() && *status->completion_time() < *status->start_time())
    problems.invalid("status.completionTime", model::text_at(now, "status.completionTime"),
                     "completionTime cannot be set before startTime");
  if ((complete || failed) && number_at(now, "status.active") > 0)
    problems.invalid("status.active", number_at(now, "status.active"), "active>0 is invalid for finished job");
}

// --- nodes, claims, namespaces, load balancers

void node(const Object& now, const Object&, Problems& problems) {
  const auto* status = now.as<core::Node>()->status();
  if (status == nullptr) return;
  quantities(status->capacity(), "status.capacity", problems);
  quantities(status->allocatable(), "status.allocatable", problems);
  std::set<std::pair<std::string_view, std::string_view>> seen;
  for (uoffset_t i = 0; i < count(status->addresses()); ++i) {
    const auto& address = *status->addresses()->Get(i);
    if (!seen.insert({str(address.type()), str(address.address())}).second)
      problems.duplicate_json(fmt::format("status.addresses[{}]", i), json_of("core_v1.NodeAddress", &address));
  }
}

void claim(const Object& now, const Object&, Problems& problems) {
  one_of_enum(now, "status.phase", problems);
  const auto* status = now.as<core::PersistentVolumeClaim>()->status();
  if (status == nullptr) return;
  quantities(status->capacity(), "status.capacity", problems);
  quantities(status->allocated_resources(), "status.allocatedResources", problems);
  for (uoffset_t i = 0; i < count(status->allocated_resource_statuses()); ++i) {
    const auto& one = *status->allocated_resource_statuses()->Get(i);
    if (!one_of(str(one.value()), {"ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizePending",
                                   "NodeResizeInProgress", "NodeResizeInfeasible"}))
      problems.unsupported(fmt::format("status.allocatedResourceStatuses[{}]", str(one.key())), str(one.value()),
                           {"ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizePending",
                            "NodeResizeInProgress", "NodeResizeInfeasible"});
  }
}

void volume(const Object& now, const Object&, Problems& problems) { one_of_enum(now, "status.phase", problems); }

void ns(const Object& now, const Object& before, Problems& problems) {
  const auto phase = model::text_at(now, "status.phase");
  const bool going = before.meta()->deletion_timestamp().has_value();
  if (!going && phase != "Active")
    problems.invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty");
  if (going && phase != "Terminating")
    problems.invalid("status.Phase", phase, "may only be 'Terminating' if `deletionTimestamp` is not empty");
}

void quota(const Object& now, const Object&, Problems& problems) {
  const auto* status = now.as<core::ResourceQuota>()->status();
  if (status == nullptr) return;
  quantities(status->hard(), "status.hard", problems);
  quantities(status->used(), "status.used", problems);
}

/// Of Services and Ingresses.
void ingress_points(const auto* list, Problems& problems) {
  for (uoffset_t i = 0; i < count(list); ++i) {
    const auto& point = *list->Get(i);
    const std::string path = fmt::format("status.loadBalancer.ingress[{}]", i);
    if (!str(point.ip()).empty()) problems.check(path + ".ip", str(point.ip()), check_ip(str(point.ip())));
    const std::string_view host = str(point.hostname());
    if (host.empty()) continue;
    if (valid_ip(host)) {
      problems.invalid(path + ".hostname", host, "must be a DNS name, not an IP address");
    } else {
      problems.check(path + ".hostname", host, model::check_dns_subdomain(host));
    }
  }
}

void service(const Object& now, const Object&, Problems& problems) {
  const auto* status = now.as<core::Service>()->status();
  if (status == nullptr) return;
  conditions(status->conditions(), "status.conditions", problems);
  const auto* points = status->load_balancer() == nullptr ? nullptr : status->load_balancer()->ingress();
  ingress_points(points, problems);
  const auto type = model::text_at(now, "spec.type");
  if (count(points) > 0 && type != "LoadBalancer")
    problems.forbidden("status.loadBalancer.ingress", "may only be used when `spec.type` is LoadBalancer");
}

void ingress(const Object& now, const Object&, Problems& problems) {
  const auto* status = now.as<api::networking_v1::Ingress>()->status();
  if (status != nullptr && status->load_balancer() != nullptr)
    ingress_points(status->load_balancer()->ingress(), problems);
}

void budget(const Object& now, const Object&, Problems& problems) {
  const auto* status = now.as<api::policy_v1::PodDisruptionBudget>()->status();
  if (status != nullptr) conditions(status->conditions(), "status.conditions", problems);
}

// --- claims for devices

void device_claim(const Object& now, const Object& before, Problems& problems) {
  namespace devices = api::resource_v1;
  constexpr size_t kMaxConsumers = 256, kMaxResults = 32;
  const auto *status = now.as<devices::ResourceClaim>()->status(), *old = before.as<devices::ResourceClaim>()->status();
  const auto* allocation = status == nullptr ? nullptr : status->allocation();
  const auto* had = old == nullptr ? nullptr : old->allocation();
  static const model::Type& type = *model::Schema::get().type("gantry.api.resource_v1.AllocationResult");
  const auto table = [](const auto* value) { return reinterpret_cast<const flatbuffers::Table*>(value); };
  if (allocation != nullptr && had != nullptr && !model::equal(type, table(allocation), table(had)))
    problems.invalid_json("status.allocation", printed(type, table(allocation)), kImmutable);
  const auto* consumers = status == nullptr ? nullptr : status->reserved_for();
  const auto* old_consumers = old == nullptr ? nullptr : old->reserved_for();
  if (count(consumers) > kMaxConsumers) problems.too_many("status.reservedFor", count(consumers), kMaxConsumers);
  if (count(consumers) > 0 && allocation == nullptr)
    problems.forbidden("status.reservedFor", "may not be specified when `allocated` is not set");
  std::set<std::string_view> uids;
  for (uoffset_t i = 0; i < count(consumers); ++i) {
    const auto& one = *consumers->Get(i);
    const std::string path = fmt::format("status.reservedFor[{}]", i);
    if (str(one.resource()).empty()) problems.required(path + ".resource");
    if (str(one.name()).empty()) problems.required(path + ".name");
    if (str(one.uid()).empty()) problems.required(path + ".uid");
    if (!uids.insert(str(one.uid())).second) problems.duplicate(path + ".uid", str(one.uid()));
    bool known = false;
    for (uoffset_t j = 0; j < count(old_consumers); ++j)
      known = known || str(old_consumers->Get(j)->uid()) == str(one.uid());
    if (!known && before.meta()->deletion_timestamp())
      problems.forbidden("status.reservedFor", "new entries may not be added while the claim is being deleted");
  }
  const auto* results =
      allocation == nullptr || allocation->devices() == nullptr ? nullptr : allocation->devices()->results();
  if (had != nullptr) return;  // what is there has been looked at
  if (count(results) > kMaxResults) problems.too_many("status.allocation.devices.results", count(results), kMaxResults);
  std::set<std::string> requests;
  const auto* claim = now.as<devices::ResourceClaim>()->spec();
  const auto* wanted = claim == nullptr || claim->devices() == nullptr ? nullptr : claim->devices()->requests();
  for (uoffset_t i = 0; i < count(wanted); ++i) {
    const auto& one = *wanted->Get(i);
    requests.emplace(str(one.name()));
    for (uoffset_t j = 0; j < count(one.first_available()); ++j)
      requests.insert(fmt::format("{}/{}", str(one.name()), str(one.first_available()->Get(j)->name())));
  }
  for (uoffset_t i = 0; i < count(results); ++i) {
    const auto& one = *results->Get(i);
    const std::string path = fmt::format("status.allocation.devices.results[{}]", i);
    if (!requests.contains(std::string(str(one.request()))))
      problems.invalid(path + ".request", str(one.request()),
                       "must be the name of a request in the claim or the name of a request and a subrequest "
                       "separated by '/'");
    if (str(one.driver()).empty()) problems.required(path + ".driver");
    if (str(one.pool()).empty()) problems.required(path + ".pool");
    if (str(one.device()).empty()) problems.required(path + ".device");
  }
}

struct Rule {
  std::string_view resource;
  void (*check)(const Object& now, const Object& before, Problems& problems);
};

constexpr Rule kRules[] = {
    {"pods", pod},
    {"jobs", job},
    {"nodes", node},
    {"persistentvolumeclaims", claim},
    {"namespaces", ns},
    {"services", service},
    {"ingresses", ingress},
    {"poddisruptionbudgets", budget},
    {"resourcequotas", quota},
    {"persistentvolumes", volume},
    {"resourceclaims", device_claim},
};

}  // namespace

void validate_status_update(const Object& now, const Object& before, Problems& problems) {
  counts(now, before, problems);
  for (const auto& rule : kRules) {
    if (rule.resource == now.kind().resource) rule.check(now, before, problems);
  }
}

std::vector<std::string> unknown_counts() {
  std::vector<std::string> out;
  for (const auto& rule : kCounts) {
    const auto* kind = model::Schema::get().by_resource(rule.resource);
    for (const auto path : {rule.path, rule.most}) {
      if (kind == nullptr || (!path.empty() && !model::find(*kind->type, nullptr, path).known()))
        out.push_back(fmt::format("{} {}", rule.resource, path));
    }
  }
  return out;
}

}  // namespace gantry::apigw
