#include "services/controllers/endpointslice/endpoints.h"

#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::controllers {

using api::core_v1::Pod;
using api::core_v1::Service;
using api::core_v1::ServicePort;
using model::str;

namespace {

std::optional<int32_t> resolve(const ServicePort& port, const Pod& pod) {
  const auto* target = port.target_port();
  if (target == nullptr || (target->int_value().has_value() && *target->int_value() == 0))
    return port.port().value_or(0);
  if (target->int_value().has_value()) return *target->int_value();
  std::string_view name = str(target->str_value()), protocol = str(port.protocol());
  if (name.empty()) return port.port().value_or(0);
  auto search = [&](const auto* containers) -> std::optional<int32_t> {
    if (containers == nullptr) return std::nullopt;
    for (const auto* container : *containers) {
      if (container->ports() == nullptr) continue;
      for (const auto* p : *container->ports()) {
        std::string_view own = str(p->protocol());
        if (str(p->name()) == name && (own.empty() ? "TCP" : own) == (protocol.empty() ? "TCP" : protocol))
          return p->container_port();
      }
    }
    return std::nullopt;
  };
  auto found = search(pod.spec()->containers());
  return found ? found : search(pod.spec()->init_containers());  // sidecars
}

std::vector<Port> ports_of(const Service& service, const Pod& pod) {
  std::vector<Port> ports;
  if (service.spec()->ports() == nullptr) return ports;
  for (const ServicePort* port : *service.spec()->ports()) {
    auto number = resolve(*port, pod);
    if (!number) continue;  // this pod does not have it
    std::string_view protocol = str(port->protocol());
    ports.push_back({std::string(str(port->name())), protocol.empty() ? "TCP" : std::string(protocol),
                     std::string(str(port->app_protocol())), number});
  }
  return ports;
}

}  // namespace

bool has_selector(const model::Object& service) {
  const auto* spec = service.as<Service>()->spec();
  return spec != nullptr && spec->selector() != nullptr && spec->selector()->size() > 0 &&
         str(spec->type()) != "ExternalName";
}

bool selects(const model::Object& service, const model::Object& pod) {
  if (!has_selector(service)) return false;
  for (const auto* entry : *service.as<Service>()->spec()->selector()) {
    const auto* label = model::lookup(pod.meta()->labels(), str(entry->key()));
    if (label == nullptr || str(label) != str(entry->value())) return false;
  }
  return true;
}

EndpointGroups desired_endpoints(const model::Object& object, const std::vector<model::Object>& pods,
                                 const std::function<std::string(std::string_view)>& zone_of) {
  EndpointGroups groups;
  const Service& service = *object.as<Service>();
  bool headless = str(service.spec()->cluster_ip()) == "None";
  bool publish = service.spec()->publish_not_ready_addresses().value_or(false);
  std::string_view wish = str(service.spec()->traffic_distribution());
  bool same_node = wish == "PreferSameNode", close = same_node || wish == "PreferClose" || wish == "PreferSameZone";
  for (const model::Object& o : pods) {
    const Pod& pod = *o.as<Pod>();
    if (pod.status() == nullptr || pod.spec() == nullptr || model::pod_terminal(pod) ||
        str(pod.status()->pod_ip()).empty())
      continue;
    std::vector<Port> ports = ports_of(service, pod);
    bool has_ports = service.spec()->ports() != nullptr && service.spec()->ports()->size() > 0;
    if (ports.empty() && has_ports && !headless) continue;  // nothing to be reached at
    Endpoint e;
    e.address = str(pod.status()->pod_ip());
    e.node = str(pod.spec()->node_name());
    e.zone = e.node.empty() ? "" : zone_of(e.node);
    if (!str(pod.spec()->hostname()).empty() && str(pod.spec()->subdomain()) == object.name())
      e.hostname = str(pod.spec()->hostname());
    e.pod = o.name();
    e.pod_uid = o.uid();
    if (close) e.hint_zone = e.zone;
    if (same_node) e.hint_node = e.node;
    e.terminating = model::is_deleting(pod.metadata());
    e.serving = model::pod_ready(pod);
    e.ready = publish || (e.serving && !e.terminating);
    groups[std::move(ports)].push_back(std::move(e));
  }
  return groups;
}

}  // namespace gantry::controllers
