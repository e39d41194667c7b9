#include "tests/sim/monitor.h"

#include <fmt/format.h>

#include "libs/model/quantity.h"
#include "libs/model/schema.h"
#include "libs/model/served.h"
#include "libs/model/workload.h"
#include "schemas/api/apps_v1_generated.h"
#include "schemas/api/core_v1_generated.h"
#include "schemas/bus_generated.h"

namespace gantry::sim {
namespace {

using model::str;

constexpr size_t kMostViolations = 20;

uint64_t fold(uint64_t hash, std::string_view bytes) {
  for (char c : bytes) hash = (hash ^ static_cast<uint8_t>(c)) * 1099511628211ull;
  return hash;
}

int64_t milli(std::string_view quantity) {
  auto parsed = model::Quantity::parse(quantity);
  return parsed.ok() ? parsed->milli() : 0;
}

int64_t cpu_of(const api::core_v1::Pod& pod) {
  int64_t sum = 0;
  for (const auto* container : *pod.spec()->containers()) {
    const auto* resources = container->resources();
    if (resources == nullptr || resources->requests() == nullptr) continue;
    for (const auto* entry : *resources->requests()) {
      if (str(entry->key()) == "cpu") sum += milli(str(entry->value()));
    }
  }
  return sum;
}

int64_t surge_of(const api::apps_v1::Deployment& deployment, int64_t replicas) {
  const auto* strategy = deployment.spec()->strategy();
  if (strategy == nullptr || strategy->rolling_update() == nullptr) return 0;
  const auto* surge = strategy->rolling_update()->max_surge();
  if (surge == nullptr) return 0;
  if (surge->int_value().has_value()) return *surge->int_value();
  return (replicas * std::atoi(std::string(str(surge->str_value())).c_str()) + 99) / 100;
}

}  // namespace

Monitor::Monitor(Cluster& cluster) : cluster_(cluster) {
  for (const auto& kind : model::Schema::get().kinds()) {
    if (!model::stored(kind)) continue;
    watches_.push_back(
        cluster_.store.watch(kind.resource, [this, resource = std::string(kind.resource)] { read(resource); }));
  }
}

void Monitor::read(const std::string& resource) {
  if (resource == "pods") read("replicasets");  // what pods are checked against
  if (resource == "replicasets") read("deployments");
  uint64_t& position = position_[resource];
  auto entries = cluster_.store.state().read_log(resource, position, 1'000'000);
  if (!entries.ok()) return violated("log of " + resource + ": " + entries.error().message);
  const model::Kind& kind = *model::Schema::get().by_resource(resource);
  for (const auto& entry : *entries) {
    position = entry.revision;
    ++commits_;
    ++counts_[resource];
    trace_ = fold(fold(trace_, resource), entry.event);
    uint64_t hash = fold(0, entry.event);
    auto [known, fresh] = meanings_[resource].emplace(entry.revision, hash);
    if (!fresh && known->second != hash) {
      violated(fmt::format("revision {} of {} has two meanings", entry.revision, resource));
    }
    const auto* event = flatbuffers::GetRoot<bus::Event>(entry.event.data());
    if (event->object() == nullptr || event->object()->size() == 0) continue;
    model::Object object(kind, {reinterpret_cast<const char*>(event->object()->data()), event->object()->size()},
                         entry.revision);
    apply(resource, object, event->type() == bus::EventType::Delete);
    std::string cause = fmt::format("{}/{}@{} ({})", resource, object.name(), entry.revision,
                                    event->cause() == nullptr ? "" : str(event->cause()->because()));
    if (resource == "pods") check_pods(cause);
    if (resource == "replicasets") check_replica_sets(cause);
  }
}

void Monitor::read_all() {
  for (const auto& kind : model::Schema::get().kinds()) {
    if (model::stored(kind)) read(std::string(kind.resource));
  }
}

void Monitor::store_failed_over() {
  pods_.clear();
  for (auto& [uid, set] : replica_sets_) set.now = 0;
  for (auto& [resource, position] : position_) position = cluster_.store.state().head(resource);
  for (const char* resource : {"deployments", "replicasets", "pods"}) {
    for (const auto& stored : cluster_.store.state().snapshot(resource).objects) {
      apply(resource, model::Object(*model::Schema::get().by_resource(resource), stored.object, stored.revision),
            false);
    }
  }
}

void Monitor::apply(const std::string& resource, const model::Object& object, bool gone) {
  std::string uid(object.uid());
  if (resource == "deployments") {
    const auto& deployment = *object.as<api::apps_v1::Deployment>();
    int64_t replicas = deployment.spec()->replicas().value_or(1);
    Deployment& known = deployments_[uid];
    known.name = object.name();
    known.most = std::max(known.most, replicas + surge_of(deployment, replicas));
  } else if (resource == "replicasets") {
    Replicas& known = replica_sets_[uid];
    known.name = object.name();
    if (const auto* owner = model::controller_of(object.meta())) known.deployment = str(owner->uid());
    known.now = gone ? 0 : object.as<api::apps_v1::ReplicaSet>()->spec()->replicas().value_or(1);
    known.most = std::max(known.most, known.now);
  } else if (resource == "pods") {
    std::string key = fmt::format("{}/{}", object.ns(), object.name());
    if (gone) {
      pods_.erase(key);
      return;
    }
    const auto& pod = *object.as<api::core_v1::Pod>();
    const auto* owner = model::controller_of(object.meta());
    Pod value{uid,
              owner == nullptr ? "" : std::string(str(owner->uid())),
              std::string(str(pod.spec()->node_name())),
              model::pod_active(pod),
              !model::pod_terminal(pod),
              cpu_of(pod)};
    auto known = pods_.find(key);
    if (known != pods_.end() && known->second.uid == uid && !known->second.node.empty() &&
        known->second.node != value.node) {
      violated(fmt::format("pod {} moved from node {} to {}", key, known->second.node, value.node));
    }
    pods_[key] = std::move(value);
  }
}

void Monitor::check_pods(const std::string& cause) {
  std::map<std::string, int64_t> by_set, cpu, count;
  for (const auto& [key, pod] : pods_) {
    if (pod.occupies && !pod.node.empty()) {
      cpu[pod.node] += pod.cpu_milli;
      ++count[pod.node];
    }
    if (pod.active && !pod.replica_set.empty()) ++by_set[pod.replica_set];
  }
  for (const auto& [uid, n] : by_set) {
    const Replicas& set = replica_sets_[uid];
    if (n > set.most) violated(fmt::format("replicaset {}: {} pods of {} after {}", set.name, n, set.most, cause));
  }
  for (const auto& [node, machine] : cluster_.machines()) {
    if (cpu[node] > milli(machine.capacity.at("cpu")) || count[node] > milli(machine.capacity.at("pods")) / 1000) {
      violated(
          fmt::format("node {} is overcommitted: {}m CPU, {} pods, after {}", node, cpu[node], count[node], cause));
    }
  }
}

// Pods of an old ReplicaSet may still go while new ones come, as in Kubernetes: what is limited is what is asked for.
void Monitor::check_replica_sets(const std::string& cause) {
  std::map<std::string, int64_t> sums;
  for (const auto& [uid, set] : replica_sets_) sums[set.deployment] += set.now;
  for (const auto& [uid, n] : sums) {
    auto known = deployments_.find(uid);
    if (known != deployments_.end() && n > known->second.most) {
      violated(fmt::format("deployment {}: its ReplicaSets want {} pods, {} with surge are allowed, after {}",
                           known->second.name, n, known->second.most, cause));
    }
  }
}

void Monitor::violated(const std::string& what) {
  if (violations_.size() < kMostViolations) {
    violations_.push_back(fmt::format("t={:.3f}s {}", static_cast<double>(cluster_.loop.now().count()) / 1e6, what));
  }
}

}  // namespace gantry::sim
