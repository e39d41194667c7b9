#include "services/netproxy/rules/frontends.h"

#include <algorithm>
#include <map>
#include <set>

#include "schemas/all.h"

namespace gantry::netproxy {
namespace {

using api::core_v1::Service;
using api::discovery_v1::EndpointSlice;
using model::Object;
using model::str;

constexpr uint32_t kDefaultAffinitySeconds = 10800;

bool is_ipv4(std::string_view ip) { return !ip.empty() && ip.find(':') == std::string_view::npos; }

std::string lower(std::string_view text) {
  std::string out(text.empty() ? "TCP" : text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

struct PortBackends {
  std::vector<Backend> ready, draining, local_ready, local_draining;
  // Of the ready ones. Hints count only when every one has them, so that none is left without traffic.
  std::vector<Backend> same_node, same_zone;
  size_t node_hints = 0, zone_hints = 0;

  const std::vector<Backend>& chosen() const {
    if (ready.empty()) return draining;
    if (node_hints == ready.size() && !same_node.empty()) return same_node;
    if (zone_hints == ready.size() && !same_zone.empty()) return same_zone;
    return ready;
  }
};

template <typename Hints>
bool names(const Hints* hints, std::string_view wanted) {
  if (hints == nullptr || wanted.empty()) return false;
  return std::any_of(hints->begin(), hints->end(), [&](const auto* hint) { return str(hint->name()) == wanted; });
}

void sort(std::vector<Backend>& backends) {
  std::sort(backends.begin(), backends.end());
  backends.erase(std::unique(backends.begin(), backends.end()), backends.end());
}

/// The backends of one Service by port name and protocol.
std::map<std::pair<std::string, std::string>, PortBackends> backends_of(const projection::Cache& slices,
                                                                        const std::string& service,
                                                                        std::string_view node, std::string_view zone) {
  std::map<std::pair<std::string, std::string>, PortBackends> out;
  slices.for_each_by(kByService, service, [&](const Object& object) {
    const auto* slice = object.as<EndpointSlice>();
    if (str(slice->address_type()) != "IPv4" || !slice->endpoints() || !slice->ports()) return;
    for (const auto* port : *slice->ports()) {
      if (!port->port()) continue;
      auto& target = out[{std::string(str(port->name())), lower(str(port->protocol()))}];
      for (const auto* endpoint : *slice->endpoints()) {
        if (!endpoint->addresses() || endpoint->addresses()->size() == 0) continue;
        const auto* conditions = endpoint->conditions();
        bool ready = !conditions || conditions->ready().value_or(true);
        bool serving = conditions ? conditions->serving().value_or(ready) : true;
        bool terminating = conditions && conditions->terminating().value_or(false);
        Backend backend{std::string(str(endpoint->addresses()->Get(0))), static_cast<uint16_t>(*port->port()),
                        str(endpoint->node_name()) == node};
        if (ready) {
          if (const auto* hints = endpoint->hints()) {
            if (hints->for_nodes() && hints->for_nodes()->size() > 0) ++target.node_hints;
            if (hints->for_zones() && hints->for_zones()->size() > 0) ++target.zone_hints;
            if (names(hints->for_nodes(), node)) target.same_node.push_back(backend);
            if (names(hints->for_zones(), zone)) target.same_zone.push_back(backend);
          }
          if (backend.local) target.local_ready.push_back(backend);
          target.ready.push_back(std::move(backend));
        } else if (serving && terminating) {
          if (backend.local) target.local_draining.push_back(backend);
          target.draining.push_back(std::move(backend));
        }
      }
    }
  });
  return out;
}

/// Sets the addresses of `out`; false: the Service has none of its own.
bool set_addresses(const Service* service, Frontend& out) {
  const auto* spec = service->spec();
  std::set<std::string_view> seen;
  auto add_to = [&](std::vector<std::string>& ips, std::string_view ip) {
    if (is_ipv4(ip) && seen.insert(ip).second) ips.emplace_back(ip);
  };
  auto add = [&](std::string_view ip) { add_to(out.ips, ip); };
  if (str(spec->cluster_ip()) != "None") add(str(spec->cluster_ip()));
  if (spec->cluster_ips()) {
    for (const auto* ip : *spec->cluster_ips()) {
      if (str(ip) != "None") add(str(ip));
    }
  }
  if (out.ips.empty()) return false;
  if (spec->external_ips()) {
    for (const auto* ip : *spec->external_ips()) add_to(out.external_ips, str(ip));
  }
  if (service->status() && service->status()->load_balancer() && service->status()->load_balancer()->ingress()) {
    for (const auto* ingress : *service->status()->load_balancer()->ingress()) {
      if (str(ingress->ip_mode()) != "Proxy") add_to(out.balancer_ips, str(ingress->ip()));
    }
  }
  if (spec->load_balancer_source_ranges()) {
    for (const auto* range : *spec->load_balancer_source_ranges()) {
      if (is_ipv4(str(range))) out.source_ranges.emplace_back(str(range));
    }
    if (out.source_ranges.empty() && spec->load_balancer_source_ranges()->size() > 0)
      out.balancer_ips.clear();  // nobody who speaks IPv4
  }
  return true;
}

}  // namespace

void add_service_index(projection::Cache& slices) {
  slices.add_index(kByService, [](const Object& object, std::vector<std::string>& values) {
    const auto* meta = object.meta();
    if (!meta) return;
    if (const auto* name = model::lookup(meta->labels(), "kubernetes.io/service-name")) {
      values.push_back(std::string(str(meta->namespace_())) + "/" + name->str());
    }
  });
}

std::vector<Frontend> collect_frontends(const projection::Cache& services, const projection::Cache& slices,
                                        std::string_view node, std::string_view zone) {
  std::vector<Frontend> out;
  services.for_each([&](const Object& object) {
    const auto* service = object.as<Service>();
    const auto* spec = service->spec();
    if (!spec || !spec->ports() || str(spec->type()) == "ExternalName") return;
    Frontend common;
    if (!set_addresses(service, common)) return;
    std::string key = std::string(object.ns()) + "/" + std::string(object.name());
    auto backends = backends_of(slices, key, node, zone);
    for (const auto* port : *spec->ports()) {
      if (!port->port()) continue;
      Frontend frontend = common;
      std::string port_name(str(port->name()));
      frontend.protocol = lower(str(port->protocol()));
      frontend.name = key + ":" + (port_name.empty() ? std::to_string(*port->port()) : port_name);
      frontend.port = static_cast<uint16_t>(*port->port());
      frontend.node_port = static_cast<uint16_t>(port->node_port().value_or(0));
      frontend.internal_local = str(spec->internal_traffic_policy()) == "Local";
      frontend.external_local = str(spec->external_traffic_policy()) == "Local";
      if (str(spec->session_affinity()) == "ClientIP") {
        frontend.affinity_seconds = kDefaultAffinitySeconds;
        const auto* config = spec->session_affinity_config();
        if (config && config->client_ip() && config->client_ip()->timeout_seconds()) {
          frontend.affinity_seconds = static_cast<uint32_t>(*config->client_ip()->timeout_seconds());
        }
      }
      auto& found = backends[{port_name, frontend.protocol}];
      frontend.backends = found.chosen();
      frontend.local_backends = found.local_ready.empty() ? found.local_draining : found.local_ready;
      sort(frontend.backends);
      sort(frontend.local_backends);
      out.push_back(std::move(frontend));
    }
  });
  return out;
}

}  // namespace gantry::netproxy
