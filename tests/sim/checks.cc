#include "tests/sim/checks.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <set>

#include "libs/model/json.h"
#include "libs/model/schema.h"
#include "libs/model/workload.h"
#include "schemas/api/apps_v1_generated.h"
#include "schemas/api/core_v1_generated.h"
#include "schemas/api/discovery_v1_generated.h"

namespace gantry::sim {
namespace {

using api::apps_v1::Deployment;
using api::apps_v1::ReplicaSet;
using api::core_v1::Node;
using api::core_v1::Pod;
using api::discovery_v1::EndpointSlice;
using model::str;

constexpr size_t kHistory = 10;  // spec.revisionHistoryLimit's default

std::vector<model::Object> stored(const Cluster& cluster, const char* resource) {
  std::vector<model::Object> objects;
  for (const auto& item : cluster.store.state().snapshot(resource).objects) {
    objects.emplace_back(*model::Schema::get().by_resource(resource), item.object, item.revision);
  }
  return objects;
}

std::string_view owner(const model::Object& object) {
  const auto* reference = model::controller_of(object.meta());
  return reference == nullptr ? std::string_view() : str(reference->uid());
}

std::string_view image(const api::core_v1::PodTemplateSpec& pod) {
  return str(pod.spec()->containers()->Get(0)->image());
}

std::string check_deployment(const model::Object& object, const DeploymentWish& wish) {
  const auto& deployment = *object.as<Deployment>();
  const auto* status = deployment.status();
  std::string name = fmt::format("deployment {}", object.name());
  if (model::is_deleting(object.meta())) return name + " is being deleted";
  if (deployment.spec()->replicas().value_or(1) != wish.replicas ||
      image(*deployment.spec()->template_()) != wish.image)
    return fmt::format("{} has {} replicas of {}, declared {} of {}", name, deployment.spec()->replicas().value_or(1),
                       image(*deployment.spec()->template_()), wish.replicas, wish.image);
  if (status == nullptr || status->observed_generation().value_or(0) != object.meta()->generation().value_or(0))
    return name + ": status is behind its generation";
  auto seen = [&](const char* what, std::optional<int32_t> value) {
    return value.value_or(0) == wish.replicas
               ? std::string()
               : fmt::format("{}: {} is {} of {}", name, what, value.value_or(0), wish.replicas);
  };
  for (auto problem :
       {seen("status.replicas", status->replicas()), seen("updatedReplicas", status->updated_replicas()),
        seen("readyReplicas", status->ready_replicas()), seen("availableReplicas", status->available_replicas())}) {
    if (!problem.empty()) return problem;
  }
  return "";
}

/// The ReplicaSets of one deployment; `current` becomes the uid of the one that has the pods.
std::string check_replica_sets(const model::Object& deployment, const DeploymentWish& wish,
                               const std::vector<model::Object>& sets, std::string& current) {
  size_t old = 0;
  for (const auto& object : sets) {
    if (owner(object) != deployment.uid()) continue;
    const auto& set = *object.as<ReplicaSet>();
    if (image(*set.spec()->template_()) == wish.image) {
      if (!current.empty()) return fmt::format("deployment {} has two ReplicaSets of its template", deployment.name());
      current = object.uid();
      if (set.spec()->replicas().value_or(1) != wish.replicas || set.status() == nullptr ||
          set.status()->ready_replicas().value_or(0) != wish.replicas)
        return fmt::format("replicaset {} does not have {} ready pods", object.name(), wish.replicas);
    } else {
      ++old;
      if (set.spec()->replicas().value_or(1) != 0) return fmt::format("old replicaset {} has replicas", object.name());
    }
  }
  if (current.empty()) return fmt::format("deployment {} has no ReplicaSet", deployment.name());
  if (old > kHistory) return fmt::format("deployment {} has {} old ReplicaSets", deployment.name(), old);
  return "";
}

std::string check_pod(const model::Object& object) {
  const auto& pod = *object.as<Pod>();
  auto wrong = [&](std::string_view what) { return fmt::format("pod {} {}", object.name(), what); };
  if (model::is_deleting(object.meta())) return wrong("is being deleted");
  if (str(pod.spec()->node_name()).empty()) return wrong("is not placed");
  if (pod.status() == nullptr || str(pod.status()->phase()) != "Running") return wrong("does not run");
  if (!model::pod_ready(pod)) return wrong("is not ready");
  return "";
}

std::string check_workloads(const Cluster& cluster, const Workload& workload, const std::vector<model::Object>& pods) {
  auto wishes = workload.deployments();
  auto deployments = stored(cluster, "deployments"), sets = stored(cluster, "replicasets");
  if (deployments.size() != wishes.size())
    return fmt::format("{} deployments of {} declared", deployments.size(), wishes.size());
  std::map<std::string, int64_t, std::less<>> expected;  // pods by uid of their ReplicaSet
  std::set<std::string, std::less<>> uids;
  for (const auto& object : deployments) {
    auto wish = wishes.find(std::string(object.name()));
    if (wish == wishes.end()) return fmt::format("deployment {} was deleted", object.name());
    if (auto problem = check_deployment(object, wish->second); !problem.empty()) return problem;
    std::string current;
    if (auto problem = check_replica_sets(object, wish->second, sets, current); !problem.empty()) return problem;
    expected[current] = wish->second.replicas;
    uids.emplace(object.uid());
  }
  for (const auto& set : sets) {
    if (uids.count(owner(set)) == 0) return fmt::format("replicaset {} is an orphan", set.name());
  }
  for (const auto& pod : pods) {
    if (auto problem = check_pod(pod); !problem.empty()) return problem;
    auto set = expected.find(owner(pod));
    if (set == expected.end()) return fmt::format("pod {} belongs to nothing that is declared", pod.name());
    --set->second;
  }
  for (const auto& [uid, missing] : expected) {
    if (missing != 0) return fmt::format("replicaset uid={} lacks {} pods", uid, missing);
  }
  return "";
}

std::string check_services(const Cluster& cluster, const Workload& workload, const std::vector<model::Object>& pods) {
  std::map<std::string, std::multiset<std::string>> wanted, found;  // addresses by Service
  std::set<std::string> names;
  for (const auto& name : workload.services()) {
    names.insert(name);
    wanted[name];
    found[name];
  }
  for (const auto& object : stored(cluster, "services")) {
    if (object.name() != "kubernetes" && names.count(std::string(object.name())) == 0)
      return fmt::format("service {} was deleted", object.name());
    names.erase(std::string(object.name()));
  }
  if (!names.empty()) return fmt::format("service {} is not there", *names.begin());
  for (const auto& pod : pods) {
    auto service = wanted.find(std::string(model::label(pod.meta(), "app")));
    if (service != wanted.end()) service->second.emplace(str(pod.as<Pod>()->status()->pod_ip()));
  }
  for (const auto& object : stored(cluster, "endpointslices")) {
    std::string service(model::label(object.meta(), "kubernetes.io/service-name"));
    if (service == "kubernetes") continue;
    if (found.count(service) == 0) return fmt::format("endpointslice {} is of no service", object.name());
    const auto* endpoints = object.as<EndpointSlice>()->endpoints();
    if (endpoints == nullptr) continue;
    for (const auto* endpoint : *endpoints) {
      if (endpoint->conditions() == nullptr || !endpoint->conditions()->ready().value_or(false))
        return fmt::format("endpointslice {} has an endpoint that is not ready", object.name());
      for (const auto* address : *endpoint->addresses()) found[service].emplace(str(address));
    }
  }
  for (const auto& [service, addresses] : wanted) {
    if (found[service] != addresses)
      return fmt::format("service {}: endpoints {} for pods {}", service, fmt::join(found[service], ","),
                         fmt::join(addresses, ","));
  }
  return "";
}

std::string check_nodes(const Cluster& cluster, const std::vector<model::Object>& pods) {
  std::set<std::string> cidrs;
  auto nodes = stored(cluster, "nodes");
  if (nodes.size() != cluster.machines().size()) return fmt::format("{} nodes", nodes.size());
  for (const auto& object : nodes) {
    const auto& node = *object.as<Node>();
    if (!model::node_ready(node)) return fmt::format("node {} is not ready", object.name());
    if (node.spec() == nullptr || str(node.spec()->pod_cidr()).empty() ||
        !cidrs.emplace(str(node.spec()->pod_cidr())).second)
      return fmt::format("node {} has no pod CIDR of its own", object.name());
    if (node.spec()->taints() != nullptr && node.spec()->taints()->size() > 0)
      return fmt::format("node {} is tainted", object.name());
  }
  std::map<std::string, std::set<std::string, std::less<>>> wanted;  // pod uids by node
  for (const auto& pod : pods) wanted[std::string(str(pod.as<Pod>()->spec()->node_name()))].emplace(pod.uid());
  for (const auto& [name, machine] : cluster.machines()) {
    std::set<std::string, std::less<>> running;
    for (const auto& [uid, pod] : machine.containers->pods()) {
      if (!pod.sandboxes.empty()) running.insert(uid);
    }
    if (running != wanted[name])
      return fmt::format("node {} runs {} pods, {} are bound to it", name, running.size(), wanted[name].size());
  }
  return "";
}

bool on_chain(const bus::Chain& chain, const model::Object& object) {
  if (!chain.ns.empty()) return object.ns() == chain.ns;
  if (chain.node.empty()) return true;
  std::string_view node = chain.resource == "nodes"  ? object.name()
                          : chain.resource == "pods" ? str(object.as<Pod>()->spec()->node_name())
                                                     : std::string_view();
  return node == (chain.node == "_" ? "" : chain.node);
}

std::string check_cache(const Cluster& cluster, const projection::Cache& cache, const bus::Chain& chain) {
  if (!cache.synced()) return "has no snapshot";
  size_t expected = 0;
  for (const auto& object : stored(cluster, chain.resource.c_str())) {
    if (!on_chain(chain, object)) continue;
    ++expected;
    const auto* known = cache.find(object.ns(), object.name());
    if (known == nullptr) return fmt::format("does not know {}/{}", object.ns(), object.name());
    if (known->revision() != object.revision())
      return fmt::format("has {}/{} at revision {}, the store at {}", object.ns(), object.name(), known->revision(),
                         object.revision());
    if (chain.resource != "secrets" && known->bytes() != object.bytes() &&
        model::to_json(*known) != model::to_json(object))
      return fmt::format("has another {}/{} at revision {}", object.ns(), object.name(), object.revision());
  }
  if (cache.size() != expected) return fmt::format("has {} objects, the store {}", cache.size(), expected);
  return "";
}

}  // namespace

std::string check_declared(const Cluster& cluster, const Workload& workload) {
  if (!workload.settled()) return "a wish is not acknowledged";
  auto pods = stored(cluster, "pods");
  if (auto problem = check_workloads(cluster, workload, pods); !problem.empty()) return problem;
  if (auto problem = check_services(cluster, workload, pods); !problem.empty()) return problem;
  return check_nodes(cluster, pods);
}

std::string check_caches(Cluster& cluster) {
  std::string problem;
  for (const auto& name : cluster.names()) {
    cluster.find(name)->visit_caches([&](const projection::Cache& cache, const bus::Chain& chain) {
      if (!problem.empty()) return;
      std::string wrong = check_cache(cluster, cache, chain);
      if (!wrong.empty())
        problem =
            fmt::format("{}: cache of {} (node={} namespace={}) {}", name, chain.resource, chain.node, chain.ns, wrong);
    });
  }
  return problem;
}

std::vector<std::string> describe(const Cluster& cluster) {
  std::vector<std::string> lines;
  for (const char* resource : {"deployments", "replicasets", "pods", "services", "endpointslices", "nodes"}) {
    for (const auto& object : stored(cluster, resource)) {
      auto tree = model::to_tree(object);
      for (const char* bulky : {"managedFields", "labels", "annotations", "ownerReferences"})
        tree["metadata"].erase(bulky);
      if (resource == std::string_view("nodes")) tree["status"] = tree["status"]["conditions"];
      if (tree.contains("spec")) {
        for (const char* bulky : {"template", "selector", "containers", "tolerations"}) tree["spec"].erase(bulky);
      }
      lines.push_back(fmt::format("{}@{}: {}", resource, object.revision(), tree.dump()));
    }
  }
  return lines;
}

}  // namespace gantry::sim
