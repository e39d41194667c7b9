// Small steps about pods and nodes.
#include <fmt/format.h>
#include <glog/logging.h>

#include "libs/model/qos.h"
#include "libs/model/workload.h"
#include "schemas/api/core_v1_generated.h"
#include "schemas/api/resource_v1_generated.h"
#include "services/apigw/admission/admission.h"

namespace gantry::apigw {

using model::str;
namespace core = api::core_v1;

const char* qos_class(const model::Object& pod) {
  const auto* spec = pod.as<core::Pod>()->spec();
  return model::qos_name(spec == nullptr ? model::Qos::kBestEffort : model::pod_qos(*spec));
}

// So that a node's short absence does not move the pod.
void add_lost_node_tolerations(const model::Object& pod, model::Draft& draft) {
  const auto* spec = pod.as<core::Pod>()->spec();
  for (const char* taint : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
    bool tolerated = false;
    if (spec != nullptr && spec->tolerations() != nullptr) {
      for (const auto* t : *spec->tolerations()) {
        const bool key = str(t->key()) == taint || (str(t->key()).empty() && str(t->operator_()) == "Exists");
        const bool effect = str(t->effect()).empty() || str(t->effect()) == "NoExecute";
        tolerated = tolerated || (key && effect);
      }
    }
    if (tolerated) continue;
    const Status set = draft.set_json(
        "spec.tolerations[+]",
        fmt::format(R"({{"key":"{}","operator":"Exists","effect":"NoExecute","tolerationSeconds":300}})", taint));
    LOG_IF(DFATAL, !set.ok()) << set.error().message;
  }
}

// Nothing lands on a node before it has said that it is ready.
void add_not_ready_taint(const model::Object& node, model::Draft& draft) {
  constexpr std::string_view kTaint = "node.kubernetes.io/not-ready";
  const auto* spec = node.as<core::Node>()->spec();
  if (model::node_ready(*node.as<core::Node>())) return;
  if (spec != nullptr && spec->taints() != nullptr) {
    for (const auto* taint : *spec->taints()) {
      if (str(taint->key()) == kTaint && str(taint->effect()) == "NoSchedule") return;
    }
  }
  const Status set = draft.set_json("spec.taints[+]", fmt::format(R"({{"key":"{}","effect":"NoSchedule"}})", kTaint));
  LOG_IF(DFATAL, !set.ok()) << set.error().message;
}

// A node speaks for itself, but not about who may run on it.
Status check_node_restriction(AdmissionRequest& a, const model::Object& object) {
  if (a.identity.node.empty()) return Done{};
  const auto refuse = [&](std::string why) { return forbidden(a.kind, object.name(), why); };
  // It makes no pods but what stands for its own static ones, and those may refer to nothing.
  if (a.kind.resource == "pods" && a.subresource.empty() && a.creates()) {
    const auto* pod = object.as<core::Pod>();
    const auto* annotations = object.meta()->annotations();
    if (annotations == nullptr || model::lookup(annotations, "kubernetes.io/config.mirror") == nullptr)
      return refuse(fmt::format(
          "pod does not have \"kubernetes.io/config.mirror\" annotation, node \"{}\" can only create mirror pods",
          a.identity.node));
    if (str(pod->spec()->node_name()) != a.identity.node)
      return refuse(fmt::format("node \"{}\" can only create pods with spec.nodeName set to itself", a.identity.node));
    if (!str(pod->spec()->service_account_name()).empty())
      return refuse(fmt::format("node \"{}\" can not create pods that reference a service account", a.identity.node));
    if (pod->spec()->volumes() != nullptr) {
      for (const auto* volume : *pod->spec()->volumes()) {
        if (volume->secret() || volume->config_map() || volume->persistent_volume_claim() || volume->projected())
          return refuse(fmt::format("node \"{}\" can not create pods that reference volume {}", a.identity.node,
                                    str(volume->name())));
      }
    }
  }
  if (a.kind.resource == "nodes" && a.subresource.empty()) {
    const auto* taints =
        object.as<core::Node>()->spec() == nullptr ? nullptr : object.as<core::Node>()->spec()->taints();
    if (a.before) {
      const auto* spec = a.before.as<core::Node>()->spec();
      const auto* old = spec == nullptr ? nullptr : spec->taints();
      bool same = (old == nullptr ? 0 : old->size()) == (taints == nullptr ? 0 : taints->size());
      for (flatbuffers::uoffset_t i = 0; same && old != nullptr && i < old->size(); ++i) {
        same = str(old->Get(i)->key()) == str(taints->Get(i)->key()) &&
               str(old->Get(i)->value()) == str(taints->Get(i)->value()) &&
               str(old->Get(i)->effect()) == str(taints->Get(i)->effect());
      }
      if (!same) return refuse(fmt::format("node \"{}\" is not allowed to modify taints", a.identity.node));
    }
    constexpr std::string_view kReserved = "node-restriction.kubernetes.io/";
    if (const auto* labels = object.meta()->labels()) {
      for (const auto* label : *labels) {
        std::string_view prefix = str(label->key());
        prefix = prefix.substr(0, prefix.find('/') == std::string_view::npos ? 0 : prefix.find('/') + 1);
        if (prefix != kReserved && !prefix.ends_with("." + std::string(kReserved))) continue;
        const auto* old = a.before ? model::lookup(a.before.meta()->labels(), str(label->key())) : nullptr;
        if (old != nullptr && str(old) == str(label->value())) continue;
        return refuse(fmt::format("is not allowed to modify labels: {}", str(label->key())));
      }
    }
  }
  if (a.kind.resource == "resourceslices" && a.creates()) {
    const auto* spec = object.as<api::resource_v1::ResourceSlice>()->spec();
    const std::string_view node = spec == nullptr ? std::string_view() : str(spec->node_name());
    if (node != a.identity.node)
      return refuse("can only create ResourceSlice with the same NodeName as the requesting node");
  }
  return Done{};
}

}  // namespace gantry::apigw
