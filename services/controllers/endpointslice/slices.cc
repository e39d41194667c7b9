#include "services/controllers/endpointslice/slices.h"

#include "libs/model/draft.h"
#include "libs/model/schema.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "schemas/api/discovery_v1_generated.h"
#include "services/controllers/framework/commands.h"

namespace gantry::controllers {
namespace {

using api::discovery_v1::EndpointSlice;
using model::str;

std::vector<Port> ports_in(const EndpointSlice& slice) {
  std::vector<Port> ports;
  if (slice.ports() == nullptr) return ports;
  for (const auto* p : *slice.ports()) {
    Port port{std::string(str(p->name())), std::string(str(p->protocol())), std::string(str(p->app_protocol())),
              std::nullopt};
    if (p->port().has_value()) port.port = *p->port();
    ports.push_back(std::move(port));
  }
  return ports;
}

std::vector<Endpoint> endpoints_in(const EndpointSlice& slice) {
  std::vector<Endpoint> endpoints;
  if (slice.endpoints() == nullptr) return endpoints;
  for (const auto* e : *slice.endpoints()) {
    Endpoint endpoint;
    if (e->addresses() != nullptr && e->addresses()->size() > 0) endpoint.address = str(e->addresses()->Get(0));
    endpoint.node = str(e->node_name());
    endpoint.zone = str(e->zone());
    endpoint.hostname = str(e->hostname());
    if (e->target_ref() != nullptr)
      endpoint.pod = str(e->target_ref()->name()), endpoint.pod_uid = str(e->target_ref()->uid());
    if (e->hints() != nullptr) {
      const auto* zones = e->hints()->for_zones();
      const auto* nodes = e->hints()->for_nodes();
      if (zones != nullptr && zones->size() > 0) endpoint.hint_zone = str(zones->Get(0)->name());
      if (nodes != nullptr && nodes->size() > 0) endpoint.hint_node = str(nodes->Get(0)->name());
    }
    if (e->conditions() != nullptr) {
      endpoint.ready = e->conditions()->ready().value_or(false);
      endpoint.serving = e->conditions()->serving().value_or(false);
      endpoint.terminating = e->conditions()->terminating().value_or(false);
    }
    endpoints.push_back(std::move(endpoint));
  }
  return endpoints;
}

/// The object's labels, and those that say whose slice it is.
std::map<std::string, std::string> labels_of(const model::Object& object, const char* manager) {
  std::map<std::string, std::string> labels;
  if (object.meta()->labels() != nullptr) {
    for (const auto* entry : *object.meta()->labels()) labels[std::string(str(entry->key()))] = str(entry->value());
  }
  labels[kServiceName] = object.name();
  labels[kManagedBy] = manager;
  return labels;
}

bool has_labels(const model::Object& object, const std::map<std::string, std::string>& labels) {
  if (object.meta()->labels() == nullptr || object.meta()->labels()->size() != labels.size()) return false;
  return std::all_of(labels.begin(), labels.end(), [&](const auto& entry) {
    const auto* value = model::lookup(object.meta()->labels(), entry.first);
    return value != nullptr && str(value) == entry.second;
  });
}

void set_labels(model::Draft& draft, const std::map<std::string, std::string>& labels) {
  draft.clear("metadata.labels");
  for (const auto& [key, value] : labels) draft.set(fmt::format("metadata.labels[{}]", key), value);
}

void set_owner(model::Draft& draft, const model::Object& service, std::string_view kind = "Service") {
  draft.set("metadata.ownerReferences[+].apiVersion", "v1");
  draft.set("metadata.ownerReferences[0].kind", kind);
  draft.set("metadata.ownerReferences[0].name", service.name());
  draft.set("metadata.ownerReferences[0].uid", service.uid());
  draft.set("metadata.ownerReferences[0].controller", true);
  draft.set("metadata.ownerReferences[0].blockOwnerDeletion", true);
}

model::Bytes make_slice(const SliceOwner& owner, model::Draft draft, const std::vector<Port>& ports,
                        const std::vector<Endpoint>& endpoints) {
  set_labels(draft, owner.labels);
  draft.set("addressType", owner.address_type);
  draft.set_empty("endpoints");
  draft.clear("ports");
  for (size_t i = 0; i < ports.size(); ++i) {
    draft.set("ports[+].name", ports[i].name);
    draft.set(fmt::format("ports[{}].protocol", i), ports[i].protocol);
    if (ports[i].port) draft.set(fmt::format("ports[{}].port", i), *ports[i].port);
    if (!ports[i].app_protocol.empty()) draft.set(fmt::format("ports[{}].appProtocol", i), ports[i].app_protocol);
  }
  for (size_t i = 0; i < endpoints.size(); ++i) {
    const Endpoint& e = endpoints[i];
    draft.set("endpoints[+].addresses[+]", e.address);
    std::string at = fmt::format("endpoints[{}].", i);
    draft.set(at + "conditions.ready", e.ready);
    draft.set(at + "conditions.serving", e.serving);
    draft.set(at + "conditions.terminating", e.terminating);
    if (!e.hostname.empty()) draft.set(at + "hostname", e.hostname);
    if (!e.pod.empty()) {
      draft.set(at + "targetRef.kind", "Pod");
      draft.set(at + "targetRef.namespace", owner.object.ns());
      draft.set(at + "targetRef.name", e.pod);
      if (!e.pod_uid.empty()) draft.set(at + "targetRef.uid", e.pod_uid);
    }
    if (!e.node.empty()) draft.set(at + "nodeName", e.node);
    if (!e.zone.empty()) draft.set(at + "zone", e.zone);
    if (!e.hint_zone.empty()) draft.set(at + "hints.forZones[+].name", e.hint_zone);
    if (!e.hint_node.empty()) draft.set(at + "hints.forNodes[+].name", e.hint_node);
  }
  return draft.bytes();
}

struct Wanted {
  std::vector<Port> ports;
  std::vector<Endpoint> endpoints;
  const model::Object* existing = nullptr;
};

/// What each slice should hold: first what it holds already and is still wanted, then new ones where there is room.
std::vector<Wanted> assign(const EndpointGroups& groups, const std::vector<model::Object>& slices) {
  std::vector<Wanted> all;
  std::set<const model::Object*> used;
  for (const auto& [ports, endpoints] : groups) {
    // By address and pod: pods in the host's network share one, mirrored endpoints have no pod.
    std::map<std::pair<std::string, std::string>, const Endpoint*> left;
    for (const Endpoint& e : endpoints) left[{e.address, e.pod_uid}] = &e;
    size_t first = all.size();
    for (const model::Object& slice : slices) {
      if (ports_in(*slice.as<EndpointSlice>()) != ports) continue;
      Wanted wanted{ports, {}, &slice};
      for (const Endpoint& e : endpoints_in(*slice.as<EndpointSlice>())) {
        auto it = left.find({e.address, e.pod_uid});
        if (it == left.end()) continue;
        wanted.endpoints.push_back(*it->second);
        left.erase(it);
      }
      used.insert(&slice);
      all.push_back(std::move(wanted));
    }
    size_t at = first;
    for (const Endpoint& e : endpoints) {
      if (!left.contains({e.address, e.pod_uid})) continue;
      while (at < all.size() && all[at].endpoints.size() >= kMaxEndpoints) ++at;
      if (at == all.size()) all.push_back({ports, {}, nullptr});
      all[at].endpoints.push_back(e);
    }
  }
  for (const model::Object& slice : slices) {
    if (!used.contains(&slice)) all.push_back({{}, {}, &slice});  // no endpoint has these ports any more
  }
  return all;
}

}  // namespace

std::map<std::string, std::string> slice_labels(const model::Object& service) {
  auto labels = labels_of(service, kManager);
  labels.erase("service.kubernetes.io/headless");
  if (str(service.as<api::core_v1::Service>()->spec()->cluster_ip()) == "None")
    labels["service.kubernetes.io/headless"] = "";
  return labels;
}

std::map<std::string, std::string> mirror_labels(const model::Object& endpoints) {
  return labels_of(endpoints, kMirror);
}

void plan_slices(const SliceOwner& owner, const EndpointGroups& groups, const std::vector<model::Object>& slices,
                 Decision& decision) {
  static const model::Kind& kind = *model::Schema::get().by_resource("endpointslices");
  const model::Object& object = owner.object;
  std::vector<Wanted> all = assign(groups, slices);
  // A Service without endpoints keeps one empty slice, so that watchers know that there are none.
  bool any = std::any_of(all.begin(), all.end(), [](const Wanted& w) { return !w.endpoints.empty(); });
  if (all.empty() && owner.keep_one) all.push_back({});
  for (size_t i = 0; i < all.size(); ++i) {
    Wanted& wanted = all[i];
    bool keep = !wanted.endpoints.empty() || (owner.keep_one && !any && i == 0);
    if (wanted.existing == nullptr) {
      if (!keep) continue;
      model::Draft draft(kind);
      draft.set("metadata.generateName", fmt::format("{}-", object.name()));
      draft.set("metadata.namespace", object.ns());
      set_owner(draft, object, owner.kind);
      decision.add(create(kind, object.ns(), make_slice(owner, std::move(draft), wanted.ports, wanted.endpoints)));
      continue;
    }
    const model::Object& slice = *wanted.existing;
    if (!keep) {
      decision.add(remove(slice));
      continue;
    }
    const auto& now = *slice.as<EndpointSlice>();
    if (endpoints_in(now) == wanted.endpoints && ports_in(now) == wanted.ports && has_labels(slice, owner.labels))
      continue;
    decision.add(update(slice, make_slice(owner, model::Draft(slice), wanted.ports, wanted.endpoints)));
  }
}

void plan_endpoints(const model::Object& service, const EndpointGroups& groups, const model::Object* current,
                    Decision& decision) {
  constexpr size_t kCapacity = 1000;
  static const model::Kind& kind = *model::Schema::get().by_resource("endpoints");
  if (current != nullptr && model::is_deleting(current->meta())) return;
  std::map<std::string, std::string> labels;
  if (service.meta()->labels() != nullptr) {
    for (const auto* entry : *service.meta()->labels()) labels[std::string(str(entry->key()))] = str(entry->value());
  }
  labels["endpoints.kubernetes.io/managed-by"] = "endpoint-controller";
  if (str(service.as<api::core_v1::Service>()->spec()->cluster_ip()) == "None")
    labels["service.kubernetes.io/headless"] = "";

  model::Draft draft = current == nullptr ? model::Draft(kind) : model::Draft(*current);
  if (current == nullptr) {
    draft.set("metadata.name", service.name());
    draft.set("metadata.namespace", service.ns());
    set_owner(draft, service);
  }
  set_labels(draft, labels);
  draft.clear("subsets");
  size_t subsets = 0, total = 0;
  bool publish = service.as<api::core_v1::Service>()->spec()->publish_not_ready_addresses().value_or(false);
  for (const auto& [ports, endpoints] : groups) {
    size_t counts[2] = {0, 0};
    std::string at = fmt::format("subsets[{}].", subsets);
    for (const Endpoint& e : endpoints) {
      if ((e.terminating && !publish) || total >= kCapacity) continue;
      const char* list = e.ready ? "addresses" : "notReadyAddresses";
      size_t n = counts[e.ready]++;
      // The first address makes the subset.
      draft.set(fmt::format("{}{}[+].ip", counts[0] + counts[1] == 1 ? "subsets[+]." : at, list), e.address);
      std::string to = fmt::format("{}{}[{}].", at, list, n);
      if (!e.hostname.empty()) draft.set(to + "hostname", e.hostname);
      if (!e.node.empty()) draft.set(to + "nodeName", e.node);
      draft.set(to + "targetRef.kind", "Pod");
      draft.set(to + "targetRef.namespace", service.ns());
      draft.set(to + "targetRef.name", e.pod);
      draft.set(to + "targetRef.uid", e.pod_uid);
      ++total;
    }
    if (counts[0] + counts[1] == 0) continue;
    for (size_t i = 0; i < ports.size(); ++i) {
      draft.set(at + "ports[+].port", ports[i].port.value_or(0));
      std::string to = fmt::format("{}ports[{}].", at, i);
      if (!ports[i].name.empty()) draft.set(to + "name", ports[i].name);
      draft.set(to + "protocol", ports[i].protocol);
      if (!ports[i].app_protocol.empty()) draft.set(to + "appProtocol", ports[i].app_protocol);
    }
    ++subsets;
  }
  model::Object next = draft.build();
  if (current == nullptr) {
    decision.add(create(kind, service.ns(), next.bytes()));
  } else if (!model::equal(*kind.type, current->root(), next.root())) {
    decision.add(update(*current, next.bytes()));
  }
}

}  // namespace gantry::controllers
