#include "services/nodeagent/render/volumes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "libs/model/quantity.h"
#include "schemas/api/authentication_v1_generated.h"

namespace gantry::nodeagent {

using model::str;

namespace {

constexpr uint32_t kDefaultMode = 0644;

using Items = flatbuffers::Vector<flatbuffers::Offset<core::KeyToPath>>;

class Planner {
 public:
  Planner(const core::Pod& pod, const NodeContext& node, const std::vector<std::string>& pod_ips,
          const FindReference& find)
      : pod_(pod), node_(node), pod_ips_(pod_ips), find_(find), ns_(str(pod.metadata()->namespace_())) {}

  Result<VolumePlan> plan(const core::Volume& v) {
    VolumePlan plan;
    plan.name = str(v.name());
    plan.path = node_.paths.volume(str(pod_.metadata()->uid()), plan.name);
    if (const auto* sc = pod_.spec()->security_context(); sc && sc->fs_group().has_value())
      plan.fs_group = *sc->fs_group();
    if (const auto* h = v.host_path()) {
      plan.kind = VolumePlan::Kind::kHostPath;
      plan.path = str(h->path());
      plan.host_type = str(h->type());
      plan.fs_group.reset();
      return plan;
    }
    if (const auto* e = v.empty_dir()) {
      plan.in_memory = str(e->medium()) == "Memory";
      if (e->size_limit()) {
        auto size = model::Quantity::parse(str(e->size_limit()));
        if (size.ok()) plan.size_limit = size->value();
      }
      return plan;
    }
    if (node_.hollow) return plan;
    plan.kind = VolumePlan::Kind::kFiles;
    Status added = Done{};
    if (const auto* c = v.config_map()) {
      added = object("configmaps", str(c->name()), c->items(), mode(c->default_mode()), c->optional().value_or(false),
                     plan.files);
    } else if (const auto* s = v.secret()) {
      added = object("secrets", str(s->secret_name()), s->items(), mode(s->default_mode()),
                     s->optional().value_or(false), plan.files);
    } else if (const auto* d = v.downward_api()) {
      added = downward(d->items(), mode(d->default_mode()), plan.files);
    } else if (const auto* p = v.projected()) {
      added = projected(*p, plan.files);
    } else {
      added = Error{Code::kInvalid, "this kind of volume is not supported by this node"};
    }
    if (!added.ok())
      return Error{Code::kInvalid,
                   fmt::format("MountVolume.SetUp failed for volume \"{}\" : {}", plan.name, added.error().message)};
    return plan;
  }

 private:
  static uint32_t mode(flatbuffers::Optional<int32_t> m) {
    return m.has_value() ? static_cast<uint32_t>(*m) : kDefaultMode;
  }

  Status object(std::string_view resource, std::string_view name, const Items* items, uint32_t default_mode,
                bool optional, std::vector<VolumeFile>& files) {
    auto object = find_(resource, ns_, name);
    bool secret = resource == "secrets";
    if (!object) {
      if (optional) return Done{};
      return Error{Code::kInvalid, fmt::format("{} \"{}\" not found", secret ? "secret" : "configmap", name)};
    }
    std::map<std::string, std::string> data;
    auto add_bytes = [&](const auto* entries) {
      if (entries == nullptr) return;
      for (const auto* e : *entries) {
        data[std::string(str(e->key()))] =
            e->value() ? std::string(reinterpret_cast<const char*>(e->value()->data()), e->value()->size()) : "";
      }
    };
    if (secret) {
      add_bytes(object.as<core::Secret>()->data());
    } else {
      add_bytes(object.as<core::ConfigMap>()->binary_data());
      if (const auto* entries = object.as<core::ConfigMap>()->data()) {
        for (const auto* e : *entries) data[std::string(str(e->key()))] = str(e->value());
      }
    }
    if (items == nullptr || items->size() == 0) {
      for (auto& [key, value] : data) files.push_back({key, value, default_mode});
      return Done{};
    }
    for (const auto* item : *items) {
      auto found = data.find(std::string(str(item->key())));
      if (found == data.end()) {
        if (optional) continue;
        return Error{Code::kInvalid, fmt::format("{} references non-existent {} key: {}", name,
                                                 secret ? "secret" : "config", str(item->key()))};
      }
      if (auto s = check_path(str(item->path())); !s.ok()) return s;
      files.push_back({std::string(str(item->path())), found->second,
                       item->mode().has_value() ? static_cast<uint32_t>(*item->mode()) : default_mode});
    }
    return Done{};
  }

  Status downward(const flatbuffers::Vector<flatbuffers::Offset<core::DownwardAPIVolumeFile>>* items,
                  uint32_t default_mode, std::vector<VolumeFile>& files) {
    if (items == nullptr) return Done{};
    for (const auto* item : *items) {
      auto value = item->field_ref() ? field_value(pod_, str(item->field_ref()->field_path()), node_, pod_ips_)
                   : item->resource_field_ref() ? resource_value(pod_, nullptr, *item->resource_field_ref(), node_)
                                                : Result<std::string>(std::string());
      if (!value.ok()) return value.error();
      if (auto s = check_path(str(item->path())); !s.ok()) return s;
      files.push_back({std::string(str(item->path())), *value,
                       item->mode().has_value() ? static_cast<uint32_t>(*item->mode()) : default_mode});
    }
    return Done{};
  }

  Status token(const core::ServiceAccountTokenProjection& source, uint32_t file_mode, std::vector<VolumeFile>& files) {
    auto found = find_(kTokens, ns_, token_name(pod_, source).encode());
    if (!found) {
      return Error{Code::kInvalid,
                   fmt::format("no token for service account \"{}\" yet", str(pod_.spec()->service_account_name()))};
    }
    const auto* status = found.as<api::authentication_v1::TokenRequest>()->status();
    if (status == nullptr) return Error{Code::kInvalid, "the gateway's answer has no token"};
    if (auto s = check_path(str(source.path())); !s.ok()) return s;
    files.push_back({std::string(str(source.path())), std::string(str(status->token())), file_mode});
    return Done{};
  }

  Status projected(const core::ProjectedVolumeSource& p, std::vector<VolumeFile>& files) {
    if (p.sources() == nullptr) return Done{};
    auto m = mode(p.default_mode());
    for (const auto* source : *p.sources()) {
      Status added = Done{};
      if (const auto* c = source->config_map())
        added = object("configmaps", str(c->name()), c->items(), m, c->optional().value_or(false), files);
      if (const auto* s = source->secret())
        added = object("secrets", str(s->name()), s->items(), m, s->optional().value_or(false), files);
      if (const auto* d = source->downward_api()) added = downward(d->items(), m, files);
      if (const auto* t = source->service_account_token()) added = token(*t, m, files);
      if (source->cluster_trust_bundle() || source->pod_certificate())
        added = Error{Code::kInvalid, "this kind of projection is not supported by this node"};
      if (!added.ok()) return added;
    }
    return Done{};
  }

  static Status check_path(std::string_view path) {
    bool bad = path.empty() || path[0] == '/';
    for (size_t at = 0; at <= path.size() && !bad;) {
      auto end = std::min(path.find('/', at), path.size());
      bad = path.substr(at, end - at) == "..";
      at = end + 1;
    }
    if (bad) return Error{Code::kInvalid, fmt::format("path \"{}\" leaves the volume", path)};
    return Done{};
  }

  const core::Pod& pod_;
  const NodeContext& node_;
  const std::vector<std::string>& pod_ips_;
  const FindReference& find_;
  std::string_view ns_;
};

}  // namespace

Result<std::vector<VolumePlan>> plan_volumes(const core::Pod& pod, const NodeContext& node,
                                             const std::vector<std::string>& pod_ips, const FindReference& find) {
  std::vector<VolumePlan> out;
  if (pod.spec()->volumes() == nullptr) return out;
  Planner planner(pod, node, pod_ips, find);
  for (const auto* v : *pod.spec()->volumes()) {
    auto plan = planner.plan(*v);
    if (!plan.ok()) return plan.error();
    out.push_back(std::move(*plan));
  }
  return out;
}

std::string render_hosts(const core::Pod& pod, const NodeContext& node, const std::vector<std::string>& pod_ips) {
  std::string out =
      "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost "
      "ip6-loopback\nfe00::0\tip6-localnet\n"
      "fe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n";
  auto name = str(pod.spec()->hostname()).empty() ? str(pod.metadata()->name()) : str(pod.spec()->hostname());
  auto subdomain = str(pod.spec()->subdomain());
  for (const auto& ip : pod_ips) {
    if (subdomain.empty()) {
      out += fmt::format("{}\t{}\n", ip, name);
    } else {
      out += fmt::format("{}\t{}.{}.{}.svc.{}\t{}\n", ip, name, subdomain, str(pod.metadata()->namespace_()),
                         node.cluster_domain, name);
    }
  }
  if (pod.spec()->host_aliases() && pod.spec()->host_aliases()->size() > 0) {
    out += "\n# Entries added by HostAliases.\n";
    for (const auto* alias : *pod.spec()->host_aliases()) {
      out += str(alias->ip());
      if (alias->hostnames()) {
        for (const auto* hostname : *alias->hostnames()) out += fmt::format("\t{}", str(hostname));
      }
      out += '\n';
    }
  }
  return out;
}

}  // namespace gantry::nodeagent
