#include "services/nodeagent/render/volumes.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "libs/model/quantity.h"
#include "schemas/api/authentication_v1_generated.h"
#include "schemas/api/core_more_v1_generated.h"
#include "schemas/api/storage_v1_generated.h"

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
    plan.name = plan.spec_name = str(v.name());
    plan.path = node_.paths.volume(str(pod_.metadata()->uid()), plan.name);
    if (const auto* sc = pod_.spec()->security_context(); sc && sc->fs_group().has_value()) {
      plan.fs_group = *sc->fs_group();
      plan.group_on_mismatch = str(sc->fs_group_change_policy()) == "OnRootMismatch";
    }
    Status filled = Done{};
    if (const auto* h = v.host_path()) {
      host_path(*h, plan);
    } else if (const auto* e = v.empty_dir()) {
      filled = empty_dir(*e, plan);
    } else if (!node_.hollow) {
      filled = fill(v, plan);
    }
    if (filled.ok()) return plan;
    return Error{Code::kInvalid, fmt::format("MountVolume.SetUp failed for volume \"{}\" : {}", plan.spec_name,
                                             filled.error().message)};
  }

 private:
  Status fill(const core::Volume& v, VolumePlan& plan) {
    if (const auto* csi = v.csi()) return ephemeral(*csi, plan);
    if (!claim_of(pod_, v).empty()) return claimed(v, plan);
    if (const auto* image = v.image()) {
      plan.kind = VolumePlan::Kind::kImage;
      plan.read_only = true;
      plan.fs_group.reset();
      plan.image = str(image->reference());
      plan.pull_policy = pull_policy(plan.image, str(image->pull_policy()));
      return Done{};
    }
    plan.kind = VolumePlan::Kind::kFiles;
    plan.read_only = true;
    if (const auto* c = v.config_map()) {
      return object("configmaps", str(c->name()), c->items(), mode(c->default_mode()), c->optional().value_or(false),
                    plan.files);
    }
    if (const auto* s = v.secret()) {
      return object("secrets", str(s->secret_name()), s->items(), mode(s->default_mode()),
                    s->optional().value_or(false), plan.files);
    }
    if (const auto* d = v.downward_api()) return downward(d->items(), mode(d->default_mode()), plan.files);
    if (const auto* p = v.projected()) return projected(*p, plan);
    return Error{Code::kInvalid, "this kind of volume is not supported by this node"};
  }

  static void host_path(const core::HostPathVolumeSource& source, VolumePlan& plan) {
    plan.kind = VolumePlan::Kind::kHostPath;
    plan.path = str(source.path());
    plan.host_type = str(source.type());
    plan.fs_group.reset();
  }

  Status empty_dir(const core::EmptyDirVolumeSource& source, VolumePlan& plan) {
    const auto medium = str(source.medium());
    plan.in_memory = medium == "Memory";
    if (!medium.empty() && !plan.in_memory)
      return Error{Code::kInvalid, fmt::format("medium {} of emptyDir is not supported by this node", medium)};
    if (source.size_limit()) {
      auto size = model::Quantity::parse(str(source.size_limit()));
      if (size.ok()) plan.size_limit = size->value();
    }
    if (!plan.in_memory) return Done{};
    // No more than the pod may use at all.
    for (const int64_t bound : {memory_limit(), node_.memory_bytes}) {
      if (bound > 0 && (plan.size_limit == 0 || bound < plan.size_limit)) plan.size_limit = bound;
    }
    return Done{};
  }

  /// Of all containers together; 0 when one has none.
  int64_t memory_limit() const {
    int64_t sum = 0;
    if (pod_.spec()->containers() == nullptr) return 0;
    for (const auto* c : *pod_.spec()->containers()) {
      const auto* limits = c->resources() ? c->resources()->limits() : nullptr;
      const auto* text = limits ? model::lookup(limits, "memory") : nullptr;
      auto limit = text ? model::Quantity::parse(str(text)) : Result<model::Quantity>(model::Quantity());
      if (!limit.ok() || limit->value() <= 0) return 0;
      sum += limit->value();
    }
    return sum;
  }

  // claim -> PersistentVolume -> what it is made of
  Status claimed(const core::Volume& v, VolumePlan& plan) {
    const std::string name = claim_of(pod_, v);
    auto wrong = [&](std::string_view why) {
      return Error{Code::kInvalid, fmt::format("error processing PVC {}/{}: {}", ns_, name, why)};
    };
    auto object = find_("persistentvolumeclaims", ns_, name);
    if (!object) return wrong(fmt::format("persistentvolumeclaim \"{}\" not found", name));
    const auto* claim = object.as<core::PersistentVolumeClaim>();
    if (v.ephemeral() && !owned(claim->metadata()))
      return wrong(
          fmt::format("PVC {} was not created for pod {} (pod is not owner)", name, str(pod_.metadata()->name())));
    if (claim->spec() == nullptr || str(claim->spec()->volume_name()).empty() || claim->status() == nullptr ||
        str(claim->status()->phase()) != "Bound")
      return wrong("PVC is not bound");
    auto volume = find_("persistentvolumes", "", str(claim->spec()->volume_name()));
    const auto* spec = volume ? volume.as<core::PersistentVolume>()->spec() : nullptr;
    if (spec == nullptr)
      return wrong(fmt::format("persistentvolume \"{}\" not found", str(claim->spec()->volume_name())));
    if (spec->claim_ref() == nullptr || str(spec->claim_ref()->uid()) != object.uid())
      return wrong(fmt::format("PV {} is bound to another claim", volume.name()));
    plan.spec_name = volume.name();
    plan.block = str(spec->volume_mode()) == "Block";
    plan.read_only = v.persistent_volume_claim() && v.persistent_volume_claim()->read_only().value_or(false);
    if (plan.block) plan.path = node_.paths.pod(str(pod_.metadata()->uid())) + "/devices/" + plan.name;
    if (const auto* h = spec->host_path()) {
      host_path(*h, plan);
    } else if (const auto* local = spec->local()) {
      plan.kind = VolumePlan::Kind::kLocal;
      plan.path = str(local->path());
    } else if (spec->csi()) {
      plan.csi.claim = fmt::format("{}/{}", ns_, name);
      plan.csi.known_capacity = storage(claim->status()->capacity());
      return persistent(*spec, plan);
    } else {
      return Error{Code::kInvalid, "this kind of PersistentVolume is not supported by this node"};
    }
    return Done{};
  }

  bool owned(const api::meta_v1::ObjectMeta* meta) const {
    if (meta == nullptr || meta->owner_references() == nullptr) return false;
    return std::any_of(meta->owner_references()->begin(), meta->owner_references()->end(),
                       [&](const auto* owner) { return str(owner->uid()) == str(pod_.metadata()->uid()); });
  }

  static int64_t storage(const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* amounts) {
    const auto* text = amounts ? model::lookup(amounts, "storage") : nullptr;
    auto amount = text ? model::Quantity::parse(str(text)) : Result<model::Quantity>(model::Quantity());
    return amount.ok() ? amount->value() : 0;
  }

  Status persistent(const core::PersistentVolumeSpec& spec, VolumePlan& plan) {
    const auto& source = *spec.csi();
    plan.kind = VolumePlan::Kind::kCsi;
    plan.read_only = plan.read_only || source.read_only().value_or(false);
    auto& csi = plan.csi;
    csi.driver = str(source.driver());
    csi.handle = str(source.volume_handle());
    csi.fs_type = str(source.fs_type());
    csi.capacity = storage(spec.capacity());
    if (spec.access_modes() && spec.access_modes()->size() > 0) csi.access_mode = str(spec.access_modes()->Get(0));
    if (spec.mount_options()) {
      for (const auto* option : *spec.mount_options()) csi.mount_options.emplace_back(str(option));
    }
    copy(source.volume_attributes(), csi.attributes);
    if (source.node_stage_secret_ref() || source.node_publish_secret_ref())
      return Error{Code::kInvalid, "secrets of PersistentVolumes are not supported by this node"};
    return apply_driver(false, plan);
  }

  Status ephemeral(const core::CSIVolumeSource& source, VolumePlan& plan) {
    plan.kind = VolumePlan::Kind::kCsi;
    plan.read_only = source.read_only().value_or(false);
    auto& csi = plan.csi;
    csi.driver = str(source.driver());
    csi.handle = fmt::format("csi-{}-{}", str(pod_.metadata()->uid()), plan.name);
    csi.fs_type = str(source.fs_type());
    csi.ephemeral = true;
    copy(source.volume_attributes(), csi.attributes);
    if (const auto* reference = source.node_publish_secret_ref()) {
      auto secret = find_("secrets", ns_, str(reference->name()));
      if (!secret) return Error{Code::kInvalid, fmt::format("secret \"{}\" not found", str(reference->name()))};
      if (const auto* data = secret.as<core::Secret>()->data()) {
        for (const auto* e : *data) csi.secrets[std::string(str(e->key()))] = bytes_of(e->value());
      }
    }
    return apply_driver(true, plan);
  }

  // What the CSIDriver object says of the driver.
  Status apply_driver(bool inlined, VolumePlan& plan) {
    auto& csi = plan.csi;
    auto object = find_("csidrivers", "", csi.driver);
    const auto* spec = object ? object.as<api::storage_v1::CSIDriver>()->spec() : nullptr;
    if (inlined) {
      bool supported = false;
      if (spec != nullptr && spec->volume_lifecycle_modes()) {
        for (const auto* m : *spec->volume_lifecycle_modes()) supported |= str(m) == "Ephemeral";
      }
      if (!supported) {
        return Error{Code::kInvalid, fmt::format("volume mode \"Ephemeral\" not supported by driver {}{}", csi.driver,
                                                 spec == nullptr ? " (no CSIDriver object)" : "")};
      }
    }
    if (spec == nullptr) return Done{};
    if (!inlined && spec->attach_required().value_or(true))
      return Error{Code::kInvalid,
                   fmt::format("driver {} wants its volumes attached, which this cluster does not do", csi.driver)};
    const auto policy = str(spec->fs_group_policy());
    csi.group_always = policy == "File";
    csi.group_by_type = policy != "File" && policy != "None";
    if (spec->pod_info_on_mount().value_or(false)) {
      auto& a = csi.attributes;
      a["csi.storage.k8s.io/pod.name"] = str(pod_.metadata()->name());
      a["csi.storage.k8s.io/pod.namespace"] = ns_;
      a["csi.storage.k8s.io/pod.uid"] = str(pod_.metadata()->uid());
      a["csi.storage.k8s.io/serviceAccount.name"] = str(pod_.spec()->service_account_name());
      a["csi.storage.k8s.io/ephemeral"] = inlined ? "true" : "false";
    }
    return Done{};
  }

  static void copy(const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* from,
                   std::map<std::string, std::string>& to) {
    if (from == nullptr) return;
    for (const auto* e : *from) to[std::string(str(e->key()))] = str(e->value());
  }

  static std::string bytes_of(const flatbuffers::Vector<uint8_t>* v) {
    return v ? std::string(reinterpret_cast<const char*>(v->data()), v->size()) : std::string();
  }

  // The later source wins.
  static void put(std::vector<VolumeFile>& files, VolumeFile file) {
    auto same = std::find_if(files.begin(), files.end(), [&](const auto& f) { return f.path == file.path; });
    if (same != files.end()) files.erase(same);
    files.push_back(std::move(file));
  }

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
        data[std::string(str(e->key()))] = bytes_of(e->value());
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
      for (auto& [key, value] : data) put(files, {key, value, default_mode});
      return Done{};
    }
    for (const auto* item : *items) {
      auto found = data.find(std::string(str(item->key())));
      if (found == data.end()) {
        if (optional) continue;
        return Error{Code::kInvalid, fmt::format("{}references non-existent {} key: {}", secret ? "" : "configmap ",
                                                 secret ? "secret" : "config", str(item->key()))};
      }
      if (auto s = check_path(str(item->path())); !s.ok()) return s;
      put(files, {std::string(str(item->path())), found->second,
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
      put(files, {std::string(str(item->path())), *value,
                  item->mode().has_value() ? static_cast<uint32_t>(*item->mode()) : default_mode});
    }
    return Done{};
  }

  // Who alone runs in the pod owns the token; a group reads it; else it is for all.
  Status token(const core::ServiceAccountTokenProjection& source, uint32_t file_mode, VolumePlan& plan) {
    auto& files = plan.files;
    auto found = find_(kTokens, ns_, token_name(pod_, source).encode());
    if (!found) {
      return Error{Code::kInvalid,
                   fmt::format("no token for service account \"{}\" yet", str(pod_.spec()->service_account_name()))};
    }
    const auto* status = found.as<api::authentication_v1::TokenRequest>()->status();
    if (status == nullptr) return Error{Code::kInvalid, "the gateway's answer has no token"};
    if (auto s = check_path(str(source.path())); !s.ok()) return s;
    VolumeFile file{std::string(str(source.path())), std::string(str(status->token())), file_mode, only_user()};
    if (file.owner || plan.fs_group) file.mode = 0600;
    put(files, std::move(file));
    return Done{};
  }

  /// The user that every container runs as, when the pod says so.
  std::optional<int64_t> only_user() const {
    const auto* p = pod_.spec()->security_context();
    std::optional<int64_t> user;
    bool first = true;
    for (const auto* list : {pod_.spec()->containers(), pod_.spec()->init_containers()}) {
      if (list == nullptr) continue;
      for (const auto* c : *list) {
        std::optional<int64_t> own;
        if (p && p->run_as_user().has_value()) own = *p->run_as_user();
        if (c->security_context() && c->security_context()->run_as_user().has_value())
          own = *c->security_context()->run_as_user();
        if (!own || (!first && own != user)) return std::nullopt;
        user = own;
        first = false;
      }
    }
    return user;
  }

  Status projected(const core::ProjectedVolumeSource& p, VolumePlan& plan) {
    auto& files = plan.files;
    if (p.sources() == nullptr) return Done{};
    auto m = mode(p.default_mode());
    for (const auto* source : *p.sources()) {
      Status added = Done{};
      if (const auto* c = source->config_map())
        added = object("configmaps", str(c->name()), c->items(), m, c->optional().value_or(false), files);
      if (const auto* s = source->secret())
        added = object("secrets", str(s->name()), s->items(), m, s->optional().value_or(false), files);
      if (const auto* d = source->downward_api()) added = downward(d->items(), m, files);
      if (const auto* t = source->service_account_token()) added = token(*t, m, plan);
      if (source->cluster_trust_bundle())
        added = Error{Code::kInvalid, "clusterTrustBundle projections are not supported by this node"};
      if (source->pod_certificate())
        added = Error{Code::kInvalid, "podCertificate projections are not supported by this node"};
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

}  // namespace gantry::nodeagent
