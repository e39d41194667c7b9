#include "services/apigw/core/world.h"

#include <fmt/format.h>

#include <algorithm>

#include "libs/model/served.h"
#include "schemas/api/core_v1_generated.h"
#include "schemas/api/resource_v1_generated.h"
#include "schemas/api/storage_v1_generated.h"
#include "services/apigw/core/allocator.h"

namespace gantry::apigw {
namespace {

using model::str;
namespace core = api::core_v1;

template <typename Containers, typename Visit>
void visit_containers(const Containers* containers, const Visit& refer) {
  if (containers == nullptr) return;
  for (const auto* container : *containers) {
    if (container->env_from() != nullptr) {
      for (const auto* from : *container->env_from()) {
        if (from->config_map_ref() != nullptr) refer("configmaps", from->config_map_ref()->name());
        if (from->secret_ref() != nullptr) refer("secrets", from->secret_ref()->name());
      }
    }
    if (container->env() == nullptr) continue;
    for (const auto* env : *container->env()) {
      const auto* from = env->value_from();
      if (from == nullptr) continue;
      if (from->config_map_key_ref() != nullptr) refer("configmaps", from->config_map_key_ref()->name());
      if (from->secret_key_ref() != nullptr) refer("secrets", from->secret_key_ref()->name());
    }
  }
}

template <typename Visit>
void visit_volumes(const core::PodSpec& spec, const Visit& refer) {
  if (spec.volumes() == nullptr) return;
  for (const auto* volume : *spec.volumes()) {
    if (volume->config_map() != nullptr) refer("configmaps", volume->config_map()->name());
    if (volume->secret() != nullptr) refer("secrets", volume->secret()->secret_name());
    if (volume->persistent_volume_claim() != nullptr)
      refer("persistentvolumeclaims", volume->persistent_volume_claim()->claim_name());
    if (volume->csi() != nullptr && volume->csi()->node_publish_secret_ref() != nullptr) {
      refer("secrets", volume->csi()->node_publish_secret_ref()->name());
    }
    if (volume->projected() == nullptr || volume->projected()->sources() == nullptr) continue;
    for (const auto* source : *volume->projected()->sources()) {
      if (source->config_map() != nullptr) refer("configmaps", source->config_map()->name());
      if (source->secret() != nullptr) refer("secrets", source->secret()->name());
    }
  }
}

/// Whether the pod uses the claim for devices: one that it names, or one that was made for it.
bool claims(const core::Pod& pod, std::string_view name) {
  const auto* wanted = pod.spec() == nullptr ? nullptr : pod.spec()->resource_claims();
  for (flatbuffers::uoffset_t i = 0; wanted != nullptr && i < wanted->size(); ++i) {
    if (str(wanted->Get(i)->resource_claim_name()) == name) return true;
  }
  const auto* made = pod.status() == nullptr ? nullptr : pod.status()->resource_claim_statuses();
  for (flatbuffers::uoffset_t i = 0; made != nullptr && i < made->size(); ++i) {
    if (str(made->Get(i)->resource_claim_name()) == name) return true;
  }
  return false;
}

std::string reference(std::string_view resource, std::string_view ns, std::string_view name) {
  return fmt::format("{}/{}/{}", resource, ns, name);
}

void sort_unique(std::vector<std::string>& values) {
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

}  // namespace

void visit_references(const model::Object& pod, const std::function<void(std::string_view, std::string_view)>& visit) {
  const auto* spec = pod.as<core::Pod>()->spec();
  if (spec == nullptr) return;
  const auto refer = [&](std::string_view resource, const flatbuffers::String* name) {
    if (name != nullptr && name->size() > 0) visit(resource, str(name));
  };
  visit_containers(spec->containers(), refer);
  visit_containers(spec->init_containers(), refer);
  visit_containers(spec->ephemeral_containers(), refer);
  visit_volumes(*spec, refer);
  if (spec->volumes() != nullptr) {
    for (const auto* volume : *spec->volumes()) {  // a claim of its own
      if (volume->ephemeral() != nullptr)
        visit("persistentvolumeclaims", fmt::format("{}-{}", pod.name(), str(volume->name())));
    }
  }
  if (spec->image_pull_secrets() != nullptr) {
    for (const auto* secret : *spec->image_pull_secrets()) refer("secrets", secret->name());
  }
  refer("serviceaccounts", spec->service_account_name());
}

World::World(Loop& loop, state::Store& store, size_t window) {
  for (const auto& kind : model::Schema::get().kinds()) {
    if (model::stored(kind)) mirrors_.emplace(kind.resource, std::make_unique<Mirror>(loop, store, kind, window));
  }
  pods_ = find("pods");
  namespaces_ = find("namespaces");
  rbac_ = std::make_unique<Rbac>(Rbac::Caches{find("roles")->cache(), find("clusterroles")->cache(),
                                              find("rolebindings")->cache(), find("clusterrolebindings")->cache()});
  find("services")->cache().add_index("claim", index_claims);
  pods_->cache().add_index("node", [](const model::Object& pod, std::vector<std::string>& values) {
    const auto* spec = pod.as<core::Pod>()->spec();
    values.emplace_back(spec == nullptr ? std::string_view() : str(spec->node_name()));
  });
  pods_->cache().add_index("reference", [](const model::Object& pod, std::vector<std::string>& values) {
    const auto* spec = pod.as<core::Pod>()->spec();
    if (spec == nullptr || str(spec->node_name()).empty()) return;
    visit_references(pod, [&](std::string_view resource, std::string_view name) {
      values.push_back(reference(resource, pod.ns(), name));
    });
    sort_unique(values);
  });
}

void World::start() {
  for (auto& [resource, mirror] : mirrors_) mirror->start();
}

bool World::synced() const {
  return std::all_of(mirrors_.begin(), mirrors_.end(), [](const auto& m) { return m.second->synced(); });
}

Mirror* World::find(std::string_view resource) {
  const auto it = mirrors_.find(std::string(resource));
  return it == mirrors_.end() ? nullptr : it->second.get();
}

void World::at_heads_of(std::vector<std::string> resources, std::function<void(Status)> done) {
  struct Waiting {
    size_t left;
    std::function<void(Status)> done;
  };
  auto waiting = std::make_shared<Waiting>(Waiting{resources.size(), std::move(done)});
  for (const auto& resource : resources) {
    at_head_of(resource, [waiting](Status status) {
      if (waiting->left == 0 || (status.ok() && --waiting->left > 0)) return;
      waiting->left = 0;
      waiting->done(std::move(status));
    });
  }
}

std::vector<std::string> World::dependents(std::string_view resource, std::string_view ns,
                                           std::string_view name) const {
  std::vector<std::string> nodes;
  if (resource != "configmaps" && resource != "secrets" && resource != "serviceaccounts" &&
      resource != "persistentvolumeclaims")
    return nodes;
  pods_->cache().for_each_by("reference", reference(resource, ns, name), [&](const model::Object& pod) {
    nodes.emplace_back(str(pod.as<core::Pod>()->spec()->node_name()));
  });
  sort_unique(nodes);
  return nodes;
}

std::vector<std::string> World::references(std::string_view node, std::string_view resource) const {
  std::vector<std::string> names;
  pods_->cache().for_each_by("node", node, [&](const model::Object& pod) {
    visit_references(pod, [&](std::string_view r, std::string_view name) {
      if (r == resource) names.push_back(fmt::format("{}/{}", pod.ns(), name));
    });
  });
  sort_unique(names);
  return names;
}

std::string World::pod_node(std::string_view ns, std::string_view name) const {
  const model::Object* pod = pods_->find(ns, name);
  const auto* spec = pod ? pod->as<core::Pod>()->spec() : nullptr;
  return spec ? std::string(str(spec->node_name())) : std::string();
}

bool World::refers(std::string_view node, std::string_view resource, std::string_view ns, std::string_view name) const {
  if (resource == "persistentvolumes") {
    const model::Object* volume = find_object(resource, "", name);
    const auto* spec = volume == nullptr ? nullptr : volume->as<core::PersistentVolume>()->spec();
    const auto* claim = spec == nullptr ? nullptr : spec->claim_ref();
    return claim != nullptr && refers(node, "persistentvolumeclaims", str(claim->namespace_()), str(claim->name()));
  }
  if (resource == "volumeattachments") {
    const model::Object* attached = find_object(resource, "", name);
    const auto* spec = attached == nullptr ? nullptr : attached->as<api::storage_v1::VolumeAttachment>()->spec();
    return spec != nullptr && str(spec->node_name()) == node;
  }
  bool found = false;
  if (resource == "resourceslices") {
    const model::Object* slice = find_object(resource, "", name);
    const auto* spec = slice == nullptr ? nullptr : slice->as<api::resource_v1::ResourceSlice>()->spec();
    return spec != nullptr && !node.empty() && str(spec->node_name()) == node;
  }
  if (resource == "resourceclaims") {
    pods_->cache().for_each_by("node", std::string(node), [&](const model::Object& pod) {
      found = found || (pod.ns() == ns && claims(*pod.as<core::Pod>(), name));
    });
    return found;
  }
  pods_->cache().for_each_by("reference", reference(resource, ns, name), [&](const model::Object& pod) {
    found = found || str(pod.as<core::Pod>()->spec()->node_name()) == node;
  });
  return found;
}

}  // namespace gantry::apigw
