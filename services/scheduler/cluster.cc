#include "services/scheduler/cluster.h"

#include "libs/model/draft.h"
#include "libs/model/quantity.h"
#include "libs/model/schema.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::scheduler {
namespace {

using api::core_v1::Node;
using model::str;

void read_allocatable(const Node& node, NodeInfo& info) {
  info.allocatable = {};
  info.max_pods = 0;
  const auto* map = node.status() == nullptr ? nullptr : node.status()->allocatable();
  if (map == nullptr && node.status() != nullptr) map = node.status()->capacity();
  if (map == nullptr) return;
  for (const auto* entry : *map) {
    auto quantity = model::Quantity::parse(str(entry->value()));
    if (!quantity.ok()) continue;
    std::string_view name = str(entry->key());
    if (name == "cpu") {
      info.allocatable.cpu = quantity->milli();
    } else if (name == "memory") {
      info.allocatable.memory = quantity->value();
    } else if (name == "ephemeral-storage") {
      info.allocatable.ephemeral = quantity->value();
    } else if (name == "pods") {
      info.max_pods = quantity->value();
    } else {
      info.allocatable.extended.emplace_back(name, quantity->value());
    }
  }
  std::sort(info.allocatable.extended.begin(), info.allocatable.extended.end());
}

bool same_map(const model::Labels* p, const model::Labels* q) {
  const size_t n = p == nullptr ? 0 : p->size(), m = q == nullptr ? 0 : q->size();
  if (n != m) return false;
  for (flatbuffers::uoffset_t i = 0; i < n; ++i) {
    if (str(p->Get(i)->key()) != str(q->Get(i)->key()) || str(p->Get(i)->value()) != str(q->Get(i)->value()))
      return false;
  }
  return true;
}

/// What filters look at differs: a status report alone changes none of it.
bool schedules_alike(const model::Object& a, const model::Object& b) {
  const Node &x = *a.as<Node>(), &y = *b.as<Node>();
  auto labels = [](const Node& n) { return n.metadata() == nullptr ? nullptr : n.metadata()->labels(); };
  auto allocatable = [](const Node& n) { return n.status() == nullptr ? nullptr : n.status()->allocatable(); };
  auto capacity = [](const Node& n) { return n.status() == nullptr ? nullptr : n.status()->capacity(); };
  if (!same_map(labels(x), labels(y)) || !same_map(allocatable(x), allocatable(y)) ||
      !same_map(capacity(x), capacity(y)))
    return false;
  static const model::Type& spec = *model::Schema::get().type("gantry.api.core_v1.NodeSpec");
  if (x.spec() == nullptr || y.spec() == nullptr) return x.spec() == y.spec();
  return model::equal(spec, reinterpret_cast<const flatbuffers::Table*>(x.spec()),
                      reinterpret_cast<const flatbuffers::Table*>(y.spec()));
}

}  // namespace

Cluster::Cluster()
    : residents_(
          [this](std::string_view ns) -> const model::Labels* {
            const auto found = namespaces_.find(std::string(ns));
            return found == namespaces_.end() ? nullptr : found->second.meta()->labels();
          },
          [this](const auto& visit) {
            for (const auto& [key, placed] : pods_) {
              if (!placed.aside) visit(placed.pod, placed.node);
            }
          }) {}

size_t Cluster::slot(std::string_view name) {
  auto [it, fresh] = slots_.try_emplace(std::string(name), nodes_.size());
  if (fresh) {
    if (!free_.empty()) {
      it->second = free_.back();
      free_.pop_back();
    } else {
      nodes_.emplace_back();
    }
    nodes_[it->second].name = name;
  }
  return it->second;
}

bool Cluster::set_node(const model::Object& object) {
  NodeInfo& info = nodes_[slot(object.name())];
  bool fresh = !info.object;
  bool matters = fresh || !schedules_alike(info.object, object);
  if (fresh) ++known_;
  info.object = object;
  const Node& node = *object.as<Node>();
  read_allocatable(node, info);
  info.unschedulable = node.spec() != nullptr && node.spec()->unschedulable().value_or(false);
  info.taints.clear();
  info.soft_taints.clear();
  if (node.spec() != nullptr && node.spec()->taints() != nullptr) {
    for (const auto* taint : *node.spec()->taints()) {
      (str(taint->effect()) == "PreferNoSchedule" ? info.soft_taints : info.taints).push_back(taint);
    }
  }
  if (matters) ++generation_;
  return matters;
}

void Cluster::remove_node(std::string_view name) {
  auto it = slots_.find(std::string(name));
  if (it == slots_.end() || !nodes_[it->second].object) return;
  NodeInfo& info = nodes_[it->second];
  info.object = {};
  info.taints.clear();
  info.soft_taints.clear();
  --known_;
  ++generation_;  // the reasons for which pods do not fit changed
  drop_if_empty(it->second);
}

void Cluster::drop_if_empty(size_t at) {
  NodeInfo& info = nodes_[at];
  if (info.object || info.pods > 0) return;
  slots_.erase(info.name);
  info = {};
  free_.push_back(at);
}

void Cluster::count(NodeInfo& node, const PodInfo& pod, int sign) {
  node.pods += sign;
  node.scored_cpu += sign * pod.scored_cpu;
  node.scored_memory += sign * pod.scored_memory;
  if (sign > 0) {
    node.used.add(pod.requests);
    node.ports.insert(node.ports.end(), pod.ports.begin(), pod.ports.end());
  } else {
    node.used.subtract(pod.requests);
    for (const HostPort& port : pod.ports) {
      auto it = std::find_if(node.ports.begin(), node.ports.end(), [&](const HostPort& p) {
        return p.port == port.port && p.protocol == port.protocol && p.ip == port.ip;
      });
      if (it != node.ports.end()) node.ports.erase(it);
    }
  }
  if (pod.owner.empty()) return;
  auto [owner, fresh] = owner_ids_.try_emplace(pod.owner, next_owner_, 0);
  if (fresh) ++next_owner_;
  uint32_t id = owner->second.first;
  owner->second.second += sign;
  if (owner->second.second == 0) owner_ids_.erase(owner);
  auto it = std::find_if(node.owners.begin(), node.owners.end(), [&](const auto& entry) { return entry.first == id; });
  if (it == node.owners.end()) {
    node.owners.emplace_back(id, sign);
  } else if ((it->second += sign) == 0) {
    *it = node.owners.back();
    node.owners.pop_back();
  }
}

void Cluster::set_pod(const PodInfo& pod, std::string_view node) {
  auto it = pods_.find(pod.key);
  if (it != pods_.end()) {
    size_t before = it->second.node;
    place(it->second, -1);
    pods_.erase(it);
    if (nodes_[before].name != node) drop_if_empty(before);
  }
  size_t at = slot(node);
  place(pods_.emplace(pod.key, Placed{at, pod}).first->second, 1);
}

void Cluster::place(Placed& placed, int sign) {
  count(nodes_[placed.node], placed.pod, sign);
  residents_.count(placed.pod, placed.node, sign);
  const auto at = priorities_.try_emplace(placed.pod.priority, 0).first;
  if ((at->second += static_cast<size_t>(sign)) == 0) priorities_.erase(at);
}

void Cluster::set_aside(const std::string& key, bool aside) {
  const auto it = pods_.find(key);
  if (it == pods_.end() || it->second.aside == aside) return;
  it->second.aside = aside;
  place(it->second, aside ? -1 : 1);
}

std::vector<std::vector<const PodInfo*>> Cluster::pods_below(int32_t priority) const {
  std::vector<std::vector<const PodInfo*>> out;
  if (!has_below(priority)) return out;
  out.resize(nodes_.size());
  for (const auto& [key, placed] : pods_) {
    if (placed.pod.priority < priority && !placed.aside) out[placed.node].push_back(&placed.pod);
  }
  return out;
}

std::vector<const PodInfo*> Cluster::pods_below(int32_t priority, std::string_view node) const {
  std::vector<const PodInfo*> out;
  if (!has_below(priority)) return out;
  for (const auto& [key, placed] : pods_) {
    if (placed.pod.priority < priority && !placed.aside && nodes_[placed.node].name == node) out.push_back(&placed.pod);
  }
  return out;
}

bool Cluster::refresh_pod(std::string_view key, const model::Object& object) {
  const auto it = pods_.find(std::string(key));
  if (it == pods_.end()) return false;
  Placed& placed = it->second;
  const auto* before = placed.pod.object.meta();
  const bool seen = !same_map(before->labels(), object.meta()->labels()) ||
                    model::is_deleting(before) != model::is_deleting(object.meta());
  if (seen) residents_.count(placed.pod, placed.node, -1);
  placed.pod.object = object;
  if (seen) residents_.count(placed.pod, placed.node, 1);
  return seen;
}

bool Cluster::set_namespace(std::string_view name, const model::Object& object) {
  auto& known = namespaces_[std::string(name)];
  const auto labels = [](const model::Object& o) { return o ? o.meta()->labels() : nullptr; };
  const bool matters = !same_map(labels(known), labels(object));
  known = object;
  if (!object) namespaces_.erase(std::string(name));
  if (matters) residents_.forget_namespaces();
  return matters;
}

bool Cluster::matches(const PodMatch& match, const model::Object& pod) const {
  return scheduler::matches(match, pod, residents_.namespaces());
}

bool Cluster::remove_pod(std::string_view key) {
  auto it = pods_.find(std::string(key));
  if (it == pods_.end()) return false;
  size_t at = it->second.node;
  place(it->second, -1);
  pods_.erase(it);
  drop_if_empty(at);
  ++generation_;
  return true;
}

std::string_view Cluster::node_of(std::string_view key) const {
  auto it = pods_.find(std::string(key));
  return it == pods_.end() ? std::string_view() : std::string_view(nodes_[it->second.node].name);
}

const NodeInfo* Cluster::node(std::string_view name) const {
  auto it = slots_.find(std::string(name));
  return it == slots_.end() ? nullptr : &nodes_[it->second];
}

uint32_t Cluster::owner_id(const std::string& uid) const {
  auto it = owner_ids_.find(uid);
  return it == owner_ids_.end() ? 0 : it->second.first;
}

}  // namespace gantry::scheduler
