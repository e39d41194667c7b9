// A pod runs as a ServiceAccount, and finds that account's token where client libraries look for it.
#include <fmt/format.h>
#include <glog/logging.h>

#include "libs/base/ids.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "services/apigw/admission/admission.h"

namespace gantry::apigw {
namespace {

using model::str;
namespace core = api::core_v1;

constexpr std::string_view kMountPath = "/var/run/secrets/kubernetes.io/serviceaccount";

bool has_mount(const core::Container& container) {
  if (container.volume_mounts() == nullptr) return false;
  for (const auto* mount : *container.volume_mounts()) {
    if (str(mount->mount_path()) == kMountPath) return true;
  }
  return false;
}

void mount_token(const core::PodSpec& spec, model::Draft& draft) {
  const std::string volume = "kube-api-access-" + random_suffix();
  bool used = false;
  const auto mount_in = [&](const auto* containers, const char* list) {
    for (flatbuffers::uoffset_t i = 0; containers != nullptr && i < containers->size(); ++i) {
      if (has_mount(*containers->Get(i))) continue;
      const size_t at =
          containers->Get(i)->volume_mounts() == nullptr ? 0 : containers->Get(i)->volume_mounts()->size();
      const std::string mount = fmt::format("spec.{}[{}].volumeMounts[{}]", list, i, at);
      draft.set(fmt::format("spec.{}[{}].volumeMounts[+].name", list, i), volume);
      draft.set(mount + ".readOnly", true);
      draft.set(mount + ".mountPath", kMountPath);
      used = true;
    }
  };
  mount_in(spec.containers(), "containers");
  mount_in(spec.init_containers(), "initContainers");
  if (!used) return;
  const Status set = draft.set_json(
      "spec.volumes[+]",
      fmt::format(R"({{"name":"{}","projected":{{"defaultMode":420,"sources":[)"
                  R"({{"serviceAccountToken":{{"expirationSeconds":3607,"path":"token"}}}},)"
                  R"({{"configMap":{{"name":"kube-root-ca.crt","items":[{{"key":"ca.crt","path":"ca.crt"}}]}}}},)"
                  R"({{"downwardAPI":{{"items":[{{"path":"namespace","fieldRef":)"
                  R"({{"apiVersion":"v1","fieldPath":"metadata.namespace"}}}}]}}}}]}}}})",
                  volume));
  LOG_IF(DFATAL, !set.ok()) << set.error().message;
}

}  // namespace

Status add_service_account(AdmissionRequest& a, const model::Object& pod, model::Draft& draft) {
  const auto* spec = pod.as<core::Pod>()->spec();
  if (spec == nullptr) return Done{};
  // What a node runs on its own account.
  if (!model::annotation(pod.meta(), "kubernetes.io/config.mirror").empty()) return Done{};
  std::string name(str(spec->service_account_name()));
  if (name.empty()) name = str(spec->service_account());
  if (name.empty()) name = "default";
  draft.set("spec.serviceAccountName", name);
  draft.set("spec.serviceAccount", name);
  const model::Object* found = a.objects.find_object("serviceaccounts", a.ns, name);
  if (found == nullptr) {
    if (a.objects.find_object("namespaces", "", a.ns) == nullptr) return Done{};  // that is what will be said
    a.unsure.emplace_back("serviceaccounts");
    return forbidden(
        a.kind, pod.name(),
        fmt::format("error looking up service account {}/{}: serviceaccount \"{}\" not found", a.ns, name, name));
  }
  const auto* account = found->as<core::ServiceAccount>();
  const bool mount =
      spec->automount_service_account_token().value_or(account->automount_service_account_token().value_or(true));
  if (mount && a.automount) mount_token(*spec, draft);
  const bool has_secrets = spec->image_pull_secrets() != nullptr && spec->image_pull_secrets()->size() > 0;
  if (!has_secrets && account->image_pull_secrets() != nullptr) {
    for (const auto* secret : *account->image_pull_secrets()) draft.copy("spec.imagePullSecrets[+]", secret);
  }
  return Done{};
}

}  // namespace gantry::apigw
