#include "services/nodeagent/render/env.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "libs/model/names.h"

namespace gantry::nodeagent {

using model::str;

namespace {

void set(Env& env, std::string name, std::string value) {
  for (auto& [n, v] : env) {
    if (n == name) {
      v = std::move(value);
      return;
    }
  }
  env.emplace_back(std::move(name), std::move(value));
}

std::string bytes(const flatbuffers::Vector<uint8_t>* v) {
  return v ? std::string(reinterpret_cast<const char*>(v->data()), v->size()) : std::string();
}

Error missing(std::string_view resource, std::string_view name) {
  return {Code::kInvalid, fmt::format("{} \"{}\" not found", resource == "secrets" ? "secret" : "configmap", name)};
}

// The value of one key, nullopt when the object or the key is not there and may be absent.
Result<std::optional<std::string>> key_of(std::string_view resource, std::string_view ns, std::string_view name,
                                          std::string_view key, bool optional, const FindReference& find) {
  using Value = std::optional<std::string>;
  auto object = find(resource, ns, name);
  if (!object) {
    if (optional) return Value();
    return missing(resource, name);
  }
  if (resource == "secrets") {
    const auto* data = object.as<core::Secret>()->data();
    const auto* entry = data ? data->LookupByKey(std::string(key).c_str()) : nullptr;
    if (entry) return Value(bytes(entry->value()));
  } else {
    const auto* data = object.as<core::ConfigMap>()->data();
    const auto* entry = data ? data->LookupByKey(std::string(key).c_str()) : nullptr;
    if (entry) return Value(std::string(str(entry->value())));
  }
  if (optional) return Value();
  return Error{Code::kInvalid, fmt::format("couldn't find key {} in {} {}/{}", key,
                                           resource == "secrets" ? "Secret" : "ConfigMap", ns, name)};
}

Status add_all(std::string_view resource, std::string_view ns, std::string_view name, std::string_view prefix,
               bool optional, const FindReference& find, Env& env) {
  auto object = find(resource, ns, name);
  if (!object) {
    if (optional) return Done{};
    return missing(resource, name);
  }
  auto add = [&](std::string_view key, std::string value) {
    auto full = std::string(prefix) + std::string(key);
    if (model::check_env_name(full).empty()) set(env, std::move(full), std::move(value));
  };
  if (resource == "secrets") {
    if (const auto* data = object.as<core::Secret>()->data()) {
      for (const auto* entry : *data) add(str(entry->key()), bytes(entry->value()));
    }
  } else if (const auto* data = object.as<core::ConfigMap>()->data()) {
    for (const auto* entry : *data) add(str(entry->key()), std::string(str(entry->value())));
  }
  return Done{};
}

Result<std::optional<std::string>> value_from(const core::Pod& pod, const core::Container& container,
                                              const core::EnvVarSource& from, const NodeContext& node,
                                              const std::vector<std::string>& pod_ips, const FindReference& find) {
  auto wrap = [](Result<std::string> r) -> Result<std::optional<std::string>> {
    if (!r.ok()) return r.error();
    return std::optional<std::string>(std::move(*r));
  };
  auto ns = str(pod.metadata()->namespace_());
  if (const auto* f = from.field_ref()) return wrap(field_value(pod, str(f->field_path()), node, pod_ips));
  if (const auto* r = from.resource_field_ref()) return wrap(resource_value(pod, &container, *r, node));
  if (const auto* c = from.config_map_key_ref()) {
    return key_of("configmaps", ns, str(c->name()), str(c->key()), c->optional().value_or(false), find);
  }
  if (const auto* s = from.secret_key_ref()) {
    return key_of("secrets", ns, str(s->name()), str(s->key()), s->optional().value_or(false), find);
  }
  return std::optional<std::string>("");
}

std::string variable(std::string_view name) {
  std::string out(name);
  std::transform(out.begin(), out.end(), out.begin(), [](char c) {
    return c == '-' ? '_' : static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
  });
  return out;
}

void add_service(const core::Service& service, Env& env) {
  const auto* spec = service.spec();
  if (spec == nullptr || spec->ports() == nullptr || spec->ports()->size() == 0) return;
  const auto ip = std::string(str(spec->cluster_ip()));
  if (ip.empty() || ip == "None" || str(spec->type()) == "ExternalName") return;
  const auto name = variable(str(service.metadata()->name()));
  const auto host = ip.find(':') == std::string::npos ? ip : "[" + ip + "]";
  const auto address = [&](const core::ServicePort& port) {
    auto protocol = std::string(str(port.protocol()).empty() ? "TCP" : str(port.protocol()));
    std::transform(protocol.begin(), protocol.end(), protocol.begin(),
                   [](char c) { return static_cast<char>(std::tolower(static_cast<unsigned char>(c))); });
    return std::pair(protocol, fmt::format("{}://{}:{}", protocol, host, port.port().value_or(0)));
  };
  const auto& first = *spec->ports()->Get(0);
  set(env, name + "_SERVICE_HOST", ip);
  set(env, name + "_SERVICE_PORT", std::to_string(first.port().value_or(0)));
  for (const auto* port : *spec->ports()) {
    if (!str(port->name()).empty())
      set(env, name + "_SERVICE_PORT_" + variable(str(port->name())), std::to_string(port->port().value_or(0)));
  }
  set(env, name + "_PORT", address(first).second);
  for (const auto* port : *spec->ports()) {
    const auto [protocol, url] = address(*port);
    const auto prefix = fmt::format("{}_PORT_{}_{}", name, port->port().value_or(0), variable(protocol));
    set(env, prefix, url);
    set(env, prefix + "_PROTO", protocol);
    set(env, prefix + "_PORT", std::to_string(port->port().value_or(0)));
    set(env, prefix + "_ADDR", ip);
  }
}

// The API's own Service always; those of the pod's namespace unless it wants none.
Env service_variables(const core::Pod& pod, const NodeContext& node) {
  Env env;
  if (!node.service_host.empty()) {
    const auto& host = node.service_host;
    const auto& port = node.service_port;
    auto address = fmt::format("tcp://{}:{}", host, port);
    env = {{"KUBERNETES_SERVICE_HOST", host},
           {"KUBERNETES_SERVICE_PORT", port},
           {"KUBERNETES_SERVICE_PORT_HTTPS", port},
           {"KUBERNETES_PORT", address},
           {fmt::format("KUBERNETES_PORT_{}_TCP", port), address},
           {fmt::format("KUBERNETES_PORT_{}_TCP_PROTO", port), "tcp"},
           {fmt::format("KUBERNETES_PORT_{}_TCP_PORT", port), port},
           {fmt::format("KUBERNETES_PORT_{}_TCP_ADDR", port), host}};
  }
  if (node.services && pod.spec()->enable_service_links().value_or(true)) {
    node.services(str(pod.metadata()->namespace_()),
                  [&](const model::Object& service) { add_service(*service.as<core::Service>(), env); });
  }
  return env;
}

}  // namespace

std::string expand(std::string_view text, const Env& env) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    if (text[i + 1] == '$') {
      out += '$';
      ++i;
      continue;
    }
    auto end = text[i + 1] == '(' ? text.find(')', i) : std::string_view::npos;
    if (end == std::string_view::npos) {
      out += '$';
      continue;
    }
    auto name = text.substr(i + 2, end - i - 2);
    auto found = std::find_if(env.begin(), env.end(), [&](const auto& entry) { return entry.first == name; });
    out += found == env.end() ? std::string(text.substr(i, end - i + 1)) : found->second;
    i = end;
  }
  return out;
}

Result<Env> render_env(const core::Pod& pod, const core::Container& container, const NodeContext& node,
                       const std::vector<std::string>& pod_ips, const FindReference& find) {
  auto env = service_variables(pod, node);
  auto ns = str(pod.metadata()->namespace_());
  if (container.env_from()) {
    for (const auto* from : *container.env_from()) {
      auto prefix = str(from->prefix());
      if (const auto* c = from->config_map_ref()) {
        auto s = add_all("configmaps", ns, str(c->name()), prefix, c->optional().value_or(false), find, env);
        if (!s.ok()) return s.error();
      }
      if (const auto* c = from->secret_ref()) {
        auto s = add_all("secrets", ns, str(c->name()), prefix, c->optional().value_or(false), find, env);
        if (!s.ok()) return s.error();
      }
    }
  }
  if (container.env()) {
    for (const auto* e : *container.env()) {
      if (e->value_from() == nullptr) {
        set(env, std::string(str(e->name())), expand(str(e->value()), env));
        continue;
      }
      auto value = value_from(pod, container, *e->value_from(), node, pod_ips, find);
      if (!value.ok()) return value.error();
      if (*value) set(env, std::string(str(e->name())), std::move(**value));
    }
  }
  return env;
}

}  // namespace gantry::nodeagent
