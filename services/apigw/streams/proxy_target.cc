#include "services/apigw/streams/proxy_target.h"

#include <fmt/format.h>

#include <charconv>
#include <random>

#include "schemas/all.h"

namespace gantry::apigw {
namespace {

using model::str;
using Done = std::function<void(Result<ProxyTarget>)>;

std::optional<uint16_t> number(std::string_view text) {
  uint16_t port = 0;
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size() || port == 0) return std::nullopt;
  return port;
}

std::string join(std::string_view ip, int port) {
  return ip.find(':') == std::string_view::npos ? fmt::format("{}:{}", ip, port) : fmt::format("[{}]:{}", ip, port);
}

bus::Command get(std::string resource, const std::string& ns, const std::string& name) {
  bus::Command command;
  command.verb = bus::Verb::Get;
  command.resource = std::move(resource);
  command.ns = ns;
  command.name = name;
  return command;
}

Result<ProxyTarget> of_pod(const model::Object& object, const ProxyName& name) {
  const auto* pod = object.as<api::core_v1::Pod>();
  int port = number(name.port).value_or(0);
  if (!name.port.empty() && port == 0)
    return Error{Code::kBadRequest, fmt::format("invalid pod request \"{}:{}\"", name.name, name.port)};
  const auto* containers = pod->spec() ? pod->spec()->containers() : nullptr;
  for (size_t i = 0; containers != nullptr && i < containers->size() && port == 0; ++i) {
    const auto* ports = containers->Get(static_cast<flatbuffers::uoffset_t>(i))->ports();
    if (ports != nullptr && ports->size() > 0) port = ports->Get(0)->container_port().value_or(0);
  }
  if (port == 0) port = name.scheme == "https" ? 443 : 80;
  auto ip = pod->status() ? str(pod->status()->pod_ip()) : std::string_view();
  auto node = pod->spec() ? str(pod->spec()->node_name()) : std::string_view();
  if (ip.empty() || node.empty()) return Error{Code::kBadRequest, "address not allowed"};
  ProxyTarget target;
  target.node = node;
  target.address = target.host = join(ip, port);
  target.tls = name.scheme == "https";
  return target;
}

Result<ProxyTarget> of_node(const model::Object& object, const ProxyName& name) {
  const auto* node = object.as<api::core_v1::Node>();
  ProxyTarget target;
  target.node = object.name();
  target.tls = name.scheme == "https";
  target.host = std::string(object.name());
  if (name.port.empty()) {
    // The agent listens on nothing for the control plane: its health server answers, whatever the scheme.
    target.tls = false;
    target.address = bus::kAgentAddress;
    return target;
  }
  auto port = number(name.port);
  if (!port) return Error{Code::kBadRequest, fmt::format("invalid node request \"{}:{}\"", name.name, name.port)};
  const auto* addresses = node->status() ? node->status()->addresses() : nullptr;
  if (addresses != nullptr) {
    for (const auto* a : *addresses) {
      if (str(a->type()) == "InternalIP" && target.address.empty()) target.address = join(str(a->address()), *port);
    }
  }
  if (target.address.empty()) return Error{Code::kBadRequest, "address not allowed"};
  target.host = target.address;
  return target;
}

/// A random ready endpoint of the port; the slices say its number by its name.
Result<ProxyTarget> of_slices(const std::vector<model::Object>& slices, const std::string& port_name,
                              const ProxyName& name, const std::string& id) {
  std::vector<ProxyTarget> ready;
  for (const auto& object : slices) {
    const auto* slice = object.as<api::discovery_v1::EndpointSlice>();
    if (!slice->endpoints() || !slice->ports()) continue;
    for (const auto* port : *slice->ports()) {
      if (str(port->name()) != port_name || !port->port()) continue;
      for (const auto* endpoint : *slice->endpoints()) {
        bool up = !endpoint->conditions() || endpoint->conditions()->ready().value_or(true);
        auto node = str(endpoint->node_name());
        if (!up || node.empty() || !endpoint->addresses() || endpoint->addresses()->size() == 0) continue;
        ProxyTarget target;
        target.node = node;
        target.address = target.host = join(str(endpoint->addresses()->Get(0)), *port->port());
        target.tls = name.scheme == "https";
        ready.push_back(std::move(target));
      }
    }
  }
  if (ready.empty()) return Error{Code::kUnavailable, fmt::format("no endpoints available for service \"{}\"", id)};
  static std::minstd_rand random{std::random_device{}()};
  return ready[random() % ready.size()];
}

void of_service(Api& api, const model::Object& object, const ProxyName& name, const std::string& id, Done done) {
  const auto* service = object.as<api::core_v1::Service>();
  const auto* ports = service->spec() ? service->spec()->ports() : nullptr;
  std::optional<std::string> port_name;
  if (ports != nullptr) {
    for (const auto* port : *ports) {
      bool asked = name.port.empty() ? ports->size() == 1
                                     : str(port->name()) == name.port ||
                                           number(name.port) == static_cast<uint16_t>(port->port().value_or(0));
      if (asked && !port_name) port_name = str(port->name());
    }
  }
  if (!port_name) {
    return done(Error{Code::kUnavailable,
                      name.port.empty()
                          ? fmt::format("no endpoints available for service \"{}\"", id)
                          : fmt::format("no service port \"{}\" found for service \"{}\"", name.port, name.name)});
  }
  bus::Command list;
  list.verb = bus::Verb::List;
  list.resource = "endpointslices";
  list.ns = object.ns();
  list.label_selector = "kubernetes.io/service-name=" + name.name;
  api.handle(gateway(), std::move(list),
             [port_name = *port_name, name, id, done = std::move(done)](Result<Answer> answer) {
               if (!answer.ok()) return done(answer.error());
               done(of_slices(answer->items, port_name, name, id));
             });
}

}  // namespace

std::optional<ProxyName> parse_proxy_name(std::string_view text) {
  std::vector<std::string> parts{""};
  for (char c : text) c == ':' ? void(parts.emplace_back()) : void(parts.back() += c);
  ProxyName out;
  if (parts.size() > 3) return std::nullopt;
  if (parts.size() == 3) {
    out.scheme = parts[0];
    parts.erase(parts.begin());
  }
  if (!out.scheme.empty() && out.scheme != "http" && out.scheme != "https") return std::nullopt;
  out.name = parts[0];
  if (parts.size() > 1) out.port = parts[1];
  if (out.name.empty()) return std::nullopt;
  return out;
}

void find_proxy_target(Api& api, const std::string& resource, const std::string& ns, const std::string& id, Done done) {
  auto name = parse_proxy_name(id);
  if (!name) {
    auto kind = resource.substr(0, resource.size() - 1);
    return done(Error{Code::kBadRequest, fmt::format("invalid {} request \"{}\"", kind, id)});
  }
  api.handle(gateway(), get(resource, ns, name->name),
             [&api, resource, name = *name, id, done = std::move(done)](Result<Answer> answer) {
               if (!answer.ok()) return done(answer.error());
               if (resource == "services") return of_service(api, answer->object, name, id, done);
               done(resource == "pods" ? of_pod(answer->object, name) : of_node(answer->object, name));
             });
}

}  // namespace gantry::apigw
