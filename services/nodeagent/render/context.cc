#include "services/nodeagent/render/context.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "libs/model/quantity.h"

namespace gantry::nodeagent {

using model::str;

std::string Paths::logs(std::string_view ns, std::string_view name, std::string_view uid) const {
  return fmt::format("{}/logs/pods/{}_{}_{}", root, ns, name, uid);
}

std::string TokenName::encode() const {
  return fmt::format("{}/{}/{}/{}/{}", account, pod, pod_uid, seconds, audience);
}

TokenName TokenName::decode(std::string_view name) {
  std::array<std::string, 4> parts;
  for (auto& part : parts) {
    const size_t slash = std::min(name.find('/'), name.size());
    part = name.substr(0, slash);
    name.remove_prefix(std::min(slash + 1, name.size()));
  }
  return {parts[0], parts[1], parts[2], std::strtoll(parts[3].c_str(), nullptr, 10), std::string(name)};
}

TokenName token_name(const core::Pod& pod, const core::ServiceAccountTokenProjection& source) {
  return {std::string(str(pod.spec()->service_account_name())), std::string(str(pod.metadata()->name())),
          std::string(str(pod.metadata()->uid())), source.expiration_seconds().value_or(3600),
          std::string(str(source.audience()))};
}

std::string pull_policy(std::string_view image, std::string_view said) {
  if (!said.empty()) return std::string(said);
  const auto slash = image.rfind('/');
  const auto colon = image.rfind(':');
  const bool tagged = colon != std::string_view::npos && (slash == std::string_view::npos || colon > slash);
  if (image.find('@') != std::string_view::npos) return "IfNotPresent";
  return !tagged || image.substr(colon) == ":latest" ? "Always" : "IfNotPresent";
}

std::string claim_of(const core::Pod& pod, const core::Volume& volume) {
  if (const auto* claim = volume.persistent_volume_claim()) return std::string(str(claim->claim_name()));
  if (volume.ephemeral()) return fmt::format("{}-{}", str(pod.metadata()->name()), str(volume.name()));
  return {};
}

std::vector<Reference> references(const core::Pod& pod, bool hollow) {
  auto out = references(*pod.spec(), !hollow);
  if (hollow || pod.spec()->volumes() == nullptr) return out;
  auto add = [&out](const char* resource, std::string name) {
    Reference r{resource, std::move(name)};
    if (!r.name.empty() && std::find(out.begin(), out.end(), r) == out.end()) out.push_back(std::move(r));
  };
  for (const auto* v : *pod.spec()->volumes()) {
    add("persistentvolumeclaims", claim_of(pod, *v));
    if (const auto* csi = v->csi()) {
      add("csidrivers", std::string(str(csi->driver())));
      if (csi->node_publish_secret_ref()) add("secrets", std::string(str(csi->node_publish_secret_ref()->name())));
    }
    if (v->projected() == nullptr || v->projected()->sources() == nullptr) continue;
    for (const auto* source : *v->projected()->sources()) {
      if (source->service_account_token() == nullptr) continue;
      Reference r{kTokens, token_name(pod, *source->service_account_token()).encode()};
      if (std::find(out.begin(), out.end(), r) == out.end()) out.push_back(std::move(r));
    }
  }
  return out;
}

std::vector<Reference> references(const core::PodSpec& spec, bool volumes) {
  std::vector<Reference> out;
  auto add = [&](const char* resource, const flatbuffers::String* name) {
    Reference r{resource, std::string(str(name))};
    if (!r.name.empty() && std::find(out.begin(), out.end(), r) == out.end()) out.push_back(std::move(r));
  };
  auto visit = [&](const auto* containers) {
    if (containers == nullptr) return;
    for (const auto* c : *containers) {
      if (c->env_from()) {
        for (const auto* from : *c->env_from()) {
          if (from->config_map_ref()) add("configmaps", from->config_map_ref()->name());
          if (from->secret_ref()) add("secrets", from->secret_ref()->name());
        }
      }
      if (c->env() == nullptr) continue;
      for (const auto* env : *c->env()) {
        if (env->value_from() && env->value_from()->config_map_key_ref())
          add("configmaps", env->value_from()->config_map_key_ref()->name());
        if (env->value_from() && env->value_from()->secret_key_ref())
          add("secrets", env->value_from()->secret_key_ref()->name());
      }
    }
  };
  visit(spec.init_containers());
  visit(spec.containers());
  if (volumes && spec.volumes()) {
    for (const auto* v : *spec.volumes()) {
      if (v->config_map()) add("configmaps", v->config_map()->name());
      if (v->secret()) add("secrets", v->secret()->secret_name());
      if (v->projected() == nullptr || v->projected()->sources() == nullptr) continue;
      for (const auto* source : *v->projected()->sources()) {
        if (source->config_map()) add("configmaps", source->config_map()->name());
        if (source->secret()) add("secrets", source->secret()->name());
      }
    }
  }
  return out;
}

namespace {

// metadata.labels['key'] -> key
std::optional<std::string_view> subscript(std::string_view path, std::string_view prefix) {
  if (path.size() < prefix.size() + 4 || path.substr(0, prefix.size()) != prefix) return std::nullopt;
  path.remove_prefix(prefix.size());
  if (path.substr(0, 2) != "['" || path.substr(path.size() - 2) != "']") return std::nullopt;
  return path.substr(2, path.size() - 4);
}

// As in a downward API file: key="value" lines, sorted as the map is.
std::string format_map(const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* map) {
  std::string out;
  if (map == nullptr) return out;
  for (const auto* entry : *map) {
    std::string value;
    for (char c : str(entry->value())) {
      if (c == '"' || c == '\\') value += '\\';
      value += c == '\n' ? std::string("\\n") : std::string(1, c);
    }
    out += fmt::format("{}=\"{}\"\n", str(entry->key()), value);
  }
  if (!out.empty()) out.pop_back();
  return out;
}

}  // namespace

Result<std::string> field_value(const core::Pod& pod, std::string_view path, const NodeContext& node,
                                const std::vector<std::string>& pod_ips) {
  const auto& meta = *pod.metadata();
  if (path == "metadata.name") return std::string(str(meta.name()));
  if (path == "metadata.namespace") return std::string(str(meta.namespace_()));
  if (path == "metadata.uid") return std::string(str(meta.uid()));
  if (path == "metadata.labels") return format_map(meta.labels());
  if (path == "metadata.annotations") return format_map(meta.annotations());
  if (auto key = subscript(path, "metadata.labels"))
    return std::string(meta.labels() ? str(model::lookup(meta.labels(), *key)) : "");
  if (auto key = subscript(path, "metadata.annotations"))
    return std::string(meta.annotations() ? str(model::lookup(meta.annotations(), *key)) : "");
  if (path == "spec.nodeName") return node.node;
  if (path == "spec.serviceAccountName") return std::string(str(pod.spec()->service_account_name()));
  if (path == "status.hostIP") return node.host_ips.empty() ? std::string() : node.host_ips[0];
  if (path == "status.hostIPs") return fmt::format("{}", fmt::join(node.host_ips, ","));
  if (path == "status.podIP") return pod_ips.empty() ? std::string() : pod_ips[0];
  if (path == "status.podIPs") return fmt::format("{}", fmt::join(pod_ips, ","));
  return Error{Code::kInvalid, fmt::format("unsupported fieldPath: {}", path)};
}

Result<std::string> resource_value(const core::Pod& pod, const core::Container* container,
                                   const core::ResourceFieldSelector& selector, const NodeContext& node) {
  auto wanted = str(selector.container_name());
  if (!wanted.empty()) {
    for (const auto* list : {pod.spec()->containers(), pod.spec()->init_containers()}) {
      if (list == nullptr) continue;
      for (const auto* c : *list) {
        if (str(c->name()) == wanted) container = c;
      }
    }
  }
  auto resource = str(selector.resource());
  auto dot = resource.find('.');
  if (container == nullptr || dot == std::string_view::npos) {
    return Error{Code::kInvalid, fmt::format("unsupported container resource: {}", resource)};
  }
  auto kind = resource.substr(0, dot), name = resource.substr(dot + 1);
  const auto* r = container->resources();
  const auto* map = r == nullptr ? nullptr : kind == "limits" ? r->limits() : r->requests();
  const auto* text = map ? model::lookup(map, name) : nullptr;
  model::Quantity value;
  if (text != nullptr) {
    auto parsed = model::Quantity::parse(str(text));
    if (!parsed.ok()) return parsed.error();
    value = *parsed;
  } else if (kind == "limits" || kind == "requests") {
    const auto* own = pod.spec()->resources();
    const auto* of_pod = own && kind == "limits" ? own->limits() : nullptr;
    const auto* shared = of_pod ? model::lookup(of_pod, name) : nullptr;
    if (shared != nullptr) {
      if (auto parsed = model::Quantity::parse(str(shared)); parsed.ok()) value = *parsed;
    } else if (kind == "limits" && name == "cpu") {
      value = model::Quantity::from_milli(node.cpu_milli);
    } else if (kind == "limits" && name == "memory") {
      value = model::Quantity::from_value(node.memory_bytes);
    } else if (kind == "limits" && name == "ephemeral-storage") {
      value = model::Quantity::from_value(node.ephemeral_bytes);
    }
  }
  if (name != "cpu" && name != "memory" && name != "ephemeral-storage" && !name.starts_with("hugepages-"))
    return Error{Code::kInvalid, fmt::format("unsupported container resource: {}", resource)};
  auto divisor = model::Quantity::parse(str(selector.divisor()).empty() ? "1" : str(selector.divisor()));
  if (!divisor.ok()) return divisor.error();
  if (name == "cpu") {
    auto by = std::max<int64_t>(1, divisor->milli());
    return std::to_string((value.milli() + by - 1) / by);
  }
  auto by = std::max<int64_t>(1, divisor->value());
  return std::to_string((value.value() + by - 1) / by);
}

}  // namespace gantry::nodeagent
