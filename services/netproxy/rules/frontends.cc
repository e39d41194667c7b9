#include "services/netproxy/rules/frontends.h"

#include <algorithm>
#include <map>

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
  std::vector<Backend> ready, draining;
};

/// The backends of one Service by port name and protocol.
std::map<std::pair<std::string, std::string>, PortBackends> backends_of(const projection::Cache& slices,
                                                                        const std::string& service,
                                                                        std::string_view node) {
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
          target.ready.push_back(std::move(backend));
        } else if (serving && terminating) {
          target.draining.push_back(std::move(backend));
        }
      }
    }
  });
  return out;
}

std::vector<std::string> addresses_of(const Service* service) {
  const auto* spec = service->spec();
  std::vector<std::string> ips;
  auto add = [&](std::string_view ip) {
    if (is_ipv4(ip) && std::find(ips.begin(), ips.end(), ip) == ips.end()) ips.emplace_back(ip);
  };
  if (str(spec->cluster_ip()) != "None") add(str(spec->cluster_ip()));
  if (spec->cluster_ips()) {
    for (const auto* ip : *spec->cluster_ips()) {
      if (str(ip) != "None") add(str(ip));
    }
  }
  if (ips.empty()) return ips;
  if (spec->external_ips()) {
    for (const auto* ip : *spec->external_ips()) add(str(ip));
  }
  if (service->status() && service->status()->load_balancer() && service->status()->load_balancer()->ingress()) {
    for (const auto* ingress : *service->status()->load_balancer()->ingress()) add(str(ingress->ip()));
  }
  return ips;
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
                                        std::string_view node) {
  std::vector<Frontend> out;
  services.for_each([&](const Object& object) {
    const auto* service = object.as<Service>();
    const auto* spec = service->spec();
    if (!spec || !spec->ports() || str(spec->type()) == "ExternalName") return;
    auto ips = addresses_of(service);
    if (ips.empty()) return;
    std::string key = std::string(object.ns()) + "/" + std::string(object.name());
    auto backends = backends_of(slices, key, node);
    for (const auto* port : *spec->ports()) {
      if (!port->port()) continue;
      Frontend frontend;
      std::string port_name(str(port->name()));
      frontend.protocol = lower(str(port->protocol()));
      frontend.name = key + ":" + (port_name.empty() ? std::to_string(*port->port()) : port_name);
      frontend.ips = ips;
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
      frontend.backends = found.ready.empty() ? found.draining : found.ready;
      std::sort(frontend.backends.begin(), frontend.backends.end());
      frontend.backends.erase(std::unique(frontend.backends.begin(), frontend.backends.end()), frontend.backends.end());
      out.push_back(std::move(frontend));
    }
  });
  return out;
}

}  // namespace gantry::netproxy
