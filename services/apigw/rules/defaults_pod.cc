#include <fmt/format.h>

#include "libs/model/quantity.h"
#include "libs/model/workload.h"
#include "services/apigw/rules/kinds.h"

namespace gantry::apigw {
namespace {

using model::Draft;
using model::str;
namespace core = api::core_v1;

// ":latest" and no tag at all may change: they are pulled each time.
bool floating_tag(std::string_view image) {
  if (image.find('@') != std::string_view::npos) return false;
  const size_t slash = image.rfind('/');
  const std::string_view last = slash == std::string_view::npos ? image : image.substr(slash + 1);
  const size_t colon = last.find(':');
  return colon == std::string_view::npos || last.substr(colon + 1) == "latest";
}

template <typename C>
void default_container(Draft& draft, const std::string& at, const C& c, bool host_network) {
  if (str(c.image_pull_policy()).empty())
    draft.set(at + ".imagePullPolicy", floating_tag(str(c.image())) ? "Always" : "IfNotPresent");
  if (c.resources() == nullptr) draft.set_empty(at + ".resources");
  for (flatbuffers::uoffset_t i = 0; host_network && c.ports() != nullptr && i < c.ports()->size(); ++i) {
    const auto& port = *c.ports()->Get(i);
    if (port.host_port().value_or(0) == 0)
      draft.set(fmt::format("{}.ports[{}].hostPort", at, i), port.container_port().value_or(0));
  }
  for (const auto& [probe, field] :
       {std::pair{c.liveness_probe(), "livenessProbe"}, std::pair{c.readiness_probe(), "readinessProbe"},
        std::pair{c.startup_probe(), "startupProbe"}}) {
    if (probe != nullptr && probe->grpc() != nullptr && probe->grpc()->service() == nullptr)
      draft.set(fmt::format("{}.{}.grpc.service", at, field), "");
  }
}

template <typename Visit>
void each_container(const core::PodSpec& spec, const std::string& at, const Visit& visit) {
  for (const auto& [list, field] :
       {std::pair{spec.containers(), "containers"}, std::pair{spec.init_containers(), "initContainers"}}) {
    for (flatbuffers::uoffset_t i = 0; list != nullptr && i < list->size(); ++i)
      visit(fmt::format("{}.{}[{}]", at, field, i), *list->Get(i));
  }
}

bool has_source(const core::Volume& v) {
  return v.host_path() || v.empty_dir() || v.secret() || v.nfs() || v.persistent_volume_claim() || v.config_map() ||
         v.projected() || v.csi() || v.downward_api() || v.ephemeral() || v.image() || v.git_repo() || v.iscsi() ||
         v.gce_persistent_disk() || v.aws_elastic_block_store() || v.glusterfs() || v.rbd() || v.flex_volume() ||
         v.cinder() || v.cephfs() || v.flocker() || v.fc() || v.azure_file() || v.vsphere_volume() || v.quobyte() ||
         v.azure_disk() || v.photon_persistent_disk() || v.portworx_volume() || v.scale_io() || v.storageos();
}

void default_volume(Draft& draft, const std::string& at, const core::Volume& v) {
  if (!has_source(v)) draft.set_empty(at + ".emptyDir");
  if (v.host_path() != nullptr && v.host_path()->type() == nullptr) draft.set(at + ".hostPath.type", "");
  if (v.image() != nullptr && str(v.image()->pull_policy()).empty())
    draft.set(at + ".image.pullPolicy", floating_tag(str(v.image()->reference())) ? "Always" : "IfNotPresent");
}

// What has a limit but no request asks for its limit.
void default_requests(Draft& draft, const std::string& at, const core::Container& c) {
  if (c.resources() == nullptr || c.resources()->limits() == nullptr) return;
  for (const auto* limit : *c.resources()->limits()) {
    // What is no name or no quantity is left to validation.
    if (!plain_key(str(limit->key())) || !model::Quantity::parse(str(limit->value())).ok()) continue;
    if (model::lookup(c.resources()->requests(), str(limit->key())) == nullptr) {
      draft.set(fmt::format("{}.resources.requests[{}]", at, str(limit->key())), str(limit->value()));
    }
  }
}

}  // namespace

void default_pod_spec(Draft& draft, const std::string& at, const core::PodSpec* spec) {
  if (spec == nullptr) return;
  if (spec->security_context() == nullptr) draft.set_empty(at + ".securityContext");
  // The old name of the field says the same.
  if (str(spec->service_account_name()).empty() && !str(spec->service_account()).empty()) {
    draft.set(at + ".serviceAccountName", str(spec->service_account()));
  } else if (!str(spec->service_account_name()).empty()) {
    draft.set(at + ".serviceAccount", str(spec->service_account_name()));
  }
  const bool host_network = spec->host_network().value_or(false);
  each_container(*spec, at, [&](const std::string& path, const core::Container& c) {
    default_container(draft, path, c, host_network);
  });
  for (flatbuffers::uoffset_t i = 0;
       spec->ephemeral_containers() != nullptr && i < spec->ephemeral_containers()->size(); ++i) {
    default_container(draft, fmt::format("{}.ephemeralContainers[{}]", at, i), *spec->ephemeral_containers()->Get(i),
                      false);
  }
  for (flatbuffers::uoffset_t i = 0; spec->volumes() != nullptr && i < spec->volumes()->size(); ++i) {
    default_volume(draft, fmt::format("{}.volumes[{}]", at, i), *spec->volumes()->Get(i));
  }
}

void default_pod(Draft& draft, const model::Object& given) {
  const auto* spec = given.as<core::Pod>()->spec();
  if (spec == nullptr) return;
  default_pod_spec(draft, "spec", spec);
  if (!spec->enable_service_links()) draft.set("spec.enableServiceLinks", true);
  // What stands for a node's static pod runs as nobody.
  const bool mirror = !model::annotation(given.meta(), "kubernetes.io/config.mirror").empty();
  if (!mirror && str(spec->service_account_name()).empty() && str(spec->service_account()).empty()) {
    draft.set("spec.serviceAccountName", "default");
    draft.set("spec.serviceAccount", "default");
  }
  each_container(*spec, "spec",
                 [&](const std::string& path, const core::Container& c) { default_requests(draft, path, c); });
}

}  // namespace gantry::apigw
