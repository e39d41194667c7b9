#include "services/scheduler/pod_info.h"

#include "libs/model/json.h"
#include "libs/model/quantity.h"
#include "libs/model/schema.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::scheduler {

using api::core_v1::Container;
using api::core_v1::Pod;
using api::core_v1::PodSpec;
using model::str;

int64_t Resources::extended_amount(std::string_view name) const {
  for (const auto& [n, amount] : extended) {
    if (n == name) return amount;
  }
  return 0;
}

namespace {

template <typename Combine>
void combine_extended(Resources& to, const Resources& from, Combine combine) {
  for (const auto& [name, amount] : from.extended) {
    auto it = std::lower_bound(to.extended.begin(), to.extended.end(), name,
                               [](const auto& entry, const std::string& n) { return entry.first < n; });
    if (it == to.extended.end() || it->first != name) it = to.extended.insert(it, {name, 0});
    it->second = combine(it->second, amount);
  }
}

using Quantities = flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>;

Resources read(const Quantities* map) {
  Resources r;
  if (map == nullptr) return r;
  for (const auto* entry : *map) {
    auto quantity = model::Quantity::parse(str(entry->value()));
    if (!quantity.ok()) continue;
    std::string_view name = str(entry->key());
    if (name == "cpu") {
      r.cpu = quantity->milli();
    } else if (name == "memory") {
      r.memory = quantity->value();
    } else if (name == "ephemeral-storage") {
      r.ephemeral = quantity->value();
    } else if (name != "pods") {
      r.extended.emplace_back(name, quantity->value());
    }
  }
  std::sort(r.extended.begin(), r.extended.end());
  return r;
}

Resources read(const api::core_v1::ResourceRequirements* requirements) {
  return read(requirements == nullptr ? nullptr : requirements->requests());
}

void hash_in(uint64_t& hash, std::string_view bytes) {
  for (unsigned char c : bytes) hash = (hash ^ c) * 1099511628211u;
  hash = (hash ^ 0xff) * 1099511628211u;
}

void hash_in(uint64_t& hash, int64_t number) {
  hash_in(hash, std::string_view(reinterpret_cast<const char*>(&number), sizeof number));
}

constexpr uint64_t kStart = 14695981039346656037u;

uint64_t shape_of(const PodInfo& info, const PodSpec& spec) {
  uint64_t hash = kStart;
  hash_in(hash, info.priority);
  hash_in(hash, info.preempts);
  hash_in(hash, info.requests.cpu);
  hash_in(hash, info.requests.memory);
  hash_in(hash, info.requests.ephemeral);
  for (const auto& [name, amount] : info.requests.extended) hash_in(hash, name), hash_in(hash, amount);
  for (const HostPort& port : info.ports) hash_in(hash, port.ip + port.protocol), hash_in(hash, port.port);
  if (spec.node_selector() != nullptr) {
    for (const auto* e : *spec.node_selector()) hash_in(hash, str(e->key())), hash_in(hash, str(e->value()));
  }
  hash_in(hash, "|");
  // Claims are a namespace's: no other shares them.
  if (!info.claims.empty()) hash_in(hash, info.object.ns());
  for (const std::string& claim : info.claims) hash_in(hash, claim);
  hash_in(hash, "|");
  if (spec.tolerations() != nullptr) {
    for (const auto* t : *spec.tolerations()) {
      for (const auto* s : {t->key(), t->operator_(), t->value(), t->effect()}) hash_in(hash, str(s));
    }
  }
  hash_in(hash, "|");
  const auto hash_table = [&](const char* name, const auto* table) {
    hash_in(hash, model::to_json(*model::Schema::get().type(name), reinterpret_cast<const flatbuffers::Table*>(table)));
  };
  if (spec.affinity() != nullptr) hash_table("gantry.api.core_v1.Affinity", spec.affinity());
  if (const auto* constraints = spec.topology_spread_constraints()) {
    for (const auto* one : *constraints) hash_table("gantry.api.core_v1.TopologySpreadConstraint", one);
  }
  return hash;
}

uint64_t hash_labels(const model::Object& object) {
  uint64_t hash = kStart;
  hash_in(hash, object.ns());
  if (const auto* labels = object.meta()->labels()) {
    for (const auto* e : *labels) hash_in(hash, str(e->key())), hash_in(hash, str(e->value()));
  }
  return hash;
}

}  // namespace

void Resources::add(const Resources& other) {
  cpu += other.cpu;
  memory += other.memory;
  ephemeral += other.ephemeral;
  combine_extended(*this, other, [](int64_t a, int64_t b) { return a + b; });
}

void Resources::subtract(const Resources& other) {
  cpu -= other.cpu;
  memory -= other.memory;
  ephemeral -= other.ephemeral;
  combine_extended(*this, other, [](int64_t a, int64_t b) { return a - b; });
}

void Resources::raise_to(const Resources& other) {
  cpu = std::max(cpu, other.cpu);
  memory = std::max(memory, other.memory);
  ephemeral = std::max(ephemeral, other.ephemeral);
  combine_extended(*this, other, [](int64_t a, int64_t b) { return std::max(a, b); });
}

bool HostPort::conflicts(const HostPort& other) const {
  return port == other.port && protocol == other.protocol &&
         (ip == other.ip || ip == "0.0.0.0" || other.ip == "0.0.0.0");
}

Resources pod_requests(const PodSpec& spec) {
  Resources running, sidecars, peak;
  if (spec.containers() != nullptr) {
    for (const Container* c : *spec.containers()) running.add(read(c->resources()));
  }
  if (spec.init_containers() != nullptr) {
    for (const Container* c : *spec.init_containers()) {
      Resources own = read(c->resources());
      if (str(c->restart_policy()) == "Always") {  // a sidecar: stays, and runs while later ones start
        sidecars.add(own);
        running.add(own);
        peak.raise_to(sidecars);
      } else {
        own.add(sidecars);
        peak.raise_to(own);
      }
    }
  }
  running.raise_to(peak);
  if (spec.resources() != nullptr && spec.resources()->requests() != nullptr) {  // said for the pod as a whole
    Resources whole = read(spec.resources());
    for (const auto* entry : *spec.resources()->requests()) {
      if (str(entry->key()) == "cpu") running.cpu = whole.cpu;
      if (str(entry->key()) == "memory") running.memory = whole.memory;
    }
  }
  running.add(read(spec.overhead()));
  return running;
}

PodInfo describe(const model::Object& object) {
  constexpr int64_t kDefaultCpu = 100, kDefaultMemory = 200 * 1024 * 1024;
  PodInfo info;
  info.key = fmt::format("{}/{}", object.ns(), object.name());
  info.object = object;
  const Pod& pod = *object.as<Pod>();
  if (const auto* owner = model::controller_of(pod.metadata())) info.owner = str(owner->uid());
  const PodSpec* spec = pod.spec();
  if (spec == nullptr) return info;
  info.requests = pod_requests(*spec);
  info.scored_cpu = info.requests.cpu;
  info.scored_memory = info.requests.memory;
  info.priority = spec->priority().value_or(0);
  info.preempts = str(spec->preemption_policy()) != "Never";
  if (spec->containers() != nullptr) {
    for (const Container* c : *spec->containers()) {
      Resources own = read(c->resources());
      if (own.cpu == 0) info.scored_cpu += kDefaultCpu;
      if (own.memory == 0) info.scored_memory += kDefaultMemory;
      if (c->ports() == nullptr) continue;
      for (const auto* port : *c->ports()) {
        if (port->host_port().value_or(0) == 0) continue;
        std::string ip(str(port->host_ip())), protocol(str(port->protocol()));
        info.ports.push_back({ip.empty() ? "0.0.0.0" : ip, protocol.empty() ? "TCP" : protocol, *port->host_port()});
      }
    }
  }
  if (spec->volumes() != nullptr) {
    for (const auto* v : *spec->volumes()) {
      if (v->persistent_volume_claim() != nullptr)
        info.claims.emplace_back(str(v->persistent_volume_claim()->claim_name()));
      if (v->ephemeral() != nullptr) info.claims.push_back(fmt::format("{}-{}", object.name(), str(v->name())));
    }
  }
  info.neighbors = neighbors_of(object);
  info.shape = shape_of(info, *spec);
  info.shape_among_others = info.shape ^ hash_labels(object);
  if (info.neighbors != nullptr) info.shape = info.shape_among_others;
  return info;
}

bool wants_node(const model::Object& object, std::string_view scheduler_name) {
  const Pod& pod = *object.as<Pod>();
  const PodSpec* spec = pod.spec();
  if (spec == nullptr || !str(spec->node_name()).empty() || !model::pod_active(pod)) return false;
  if (spec->scheduling_gates() != nullptr && spec->scheduling_gates()->size() > 0) return false;
  std::string_view scheduler = str(spec->scheduler_name());
  return scheduler.empty() || scheduler == scheduler_name;
}

bool occupies(const model::Object& object) {
  const Pod& pod = *object.as<Pod>();
  return pod.spec() != nullptr && !str(pod.spec()->node_name()).empty() && !model::pod_terminal(pod);
}

}  // namespace gantry::scheduler
