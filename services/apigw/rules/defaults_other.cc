#include <fmt/format.h>
#include <glog/logging.h>

#include "libs/model/walk.h"
#include "schemas/api/autoscaling_v2_generated.h"
#include "schemas/api/core_more_v1_generated.h"
#include "schemas/api/networking_v1_generated.h"
#include "schemas/api/rbac_v1_generated.h"
#include "services/apigw/rules/programs.h"

namespace gantry::apigw {

using model::str;

void default_namespace(model::Draft& draft, const model::Object& given) {
  if (!given.name().empty()) draft.set("metadata.labels[kubernetes.io/metadata.name]", given.name());
}

// stringData is only for writing: what is stored is data.
void default_secret(model::Draft& draft, const model::Object& given) {
  const auto* secret = given.as<api::core_v1::Secret>();
  if (secret->string_data() == nullptr) return;
  for (const auto* entry : *secret->string_data()) {
    if (!plain_key(str(entry->key()))) return;  // validation will name it
  }
  for (const auto* entry : *secret->string_data())
    draft.set(fmt::format("data[{}]", str(entry->key())), str(entry->value()));
  draft.clear("stringData");
}

// What a range leaves open for containers follows from what it says: the limit from the maximum, the request from the
// limit, else from the minimum.
void default_limitrange(model::Draft& draft, const model::Object& given) {
  const auto* spec = given.as<api::core_v1::LimitRange>()->spec();
  for (flatbuffers::uoffset_t i = 0; spec != nullptr && i < count(spec->limits()); ++i) {
    const auto& item = *spec->limits()->Get(i);
    if (str(item.type()) != "Container") continue;
    const auto fill = [&](const char* field, std::initializer_list<const model::Labels*> sources) {
      for (const auto* source : sources) {
        for (flatbuffers::uoffset_t j = 0; j < count(source); ++j) {
          const auto& entry = *source->Get(j);
          if (!plain_key(str(entry.key())) || !model::Quantity::parse(str(entry.value())).ok()) continue;
          draft.set(fmt::format("spec.limits[{}].{}[{}]", i, field, str(entry.key())), str(entry.value()));
        }
      }
    };
    // What comes later wins: the most special last.
    fill("default", {item.max(), item.standard()});
    fill("defaultRequest", {item.min(), item.max(), item.standard(), item.default_request()});
  }
}

// A subject's group follows from its kind.
template <typename T>
void default_subjects(model::Draft& draft, const T* binding) {
  for (flatbuffers::uoffset_t i = 0; i < count(binding->subjects()); ++i) {
    const auto& subject = *binding->subjects()->Get(i);
    if (!str(subject.api_group()).empty() || !one_of(str(subject.kind()), {"User", "Group"})) continue;
    draft.set(fmt::format("subjects[{}].apiGroup", i), "rbac.authorization.k8s.io");
  }
}

void default_rolebinding(model::Draft& draft, const model::Object& given) {
  default_subjects(draft, given.as<api::rbac_v1::RoleBinding>());
}

void default_clusterrolebinding(model::Draft& draft, const model::Object& given) {
  default_subjects(draft, given.as<api::rbac_v1::ClusterRoleBinding>());
}

void default_networkpolicy(model::Draft& draft, const model::Object& given) {
  const auto* spec = given.as<api::networking_v1::NetworkPolicy>()->spec();
  if (spec == nullptr || count(spec->policy_types()) > 0) return;
  draft.set("spec.policyTypes[+]", "Ingress");
  if (count(spec->egress()) > 0) draft.set("spec.policyTypes[+]", "Egress");
}

// How fast to scale, where only one direction or a part of it is said.
void default_autoscaler(model::Draft& draft, const model::Object& given) {
  const auto* spec = given.as<api::autoscaling_v2::HorizontalPodAutoscaler>()->spec();
  if (spec == nullptr) return;
  const auto fill = [&](const std::string& path, const char* json) {
    const Status set = draft.set_json(path, json);
    LOG_IF(DFATAL, !set.ok()) << set.error().message;
  };
  if (count(spec->metrics()) == 0)
    fill("spec.metrics",
         R"([{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":80}}}])");
  const auto* behavior = spec->behavior();
  if (behavior == nullptr) return;
  const auto rules = [&](const api::autoscaling_v2::HPAScalingRules* r, const std::string& at, const char* policies,
                         bool up) {
    if (up && (r == nullptr || !r->stabilization_window_seconds())) draft.set(at + ".stabilizationWindowSeconds", 0);
    if (r == nullptr || r->select_policy() == nullptr) draft.set(at + ".selectPolicy", "Max");
    if (r == nullptr || count(r->policies()) == 0) fill(at + ".policies", policies);
  };
  rules(behavior->scale_up(), "spec.behavior.scaleUp",
        R"([{"type":"Pods","value":4,"periodSeconds":15},{"type":"Percent","value":100,"periodSeconds":15}])", true);
  rules(behavior->scale_down(), "spec.behavior.scaleDown", R"([{"type":"Percent","value":100,"periodSeconds":15}])",
        false);
}

// How many devices a request is for, where it does not say.
void default_device_claim(model::Draft& draft, const model::Object& given) {
  const std::string at = given.kind().resource == "resourceclaims" ? "spec" : "spec.spec";
  const auto one = [&](const std::string& path) {
    const std::string mode = model::text_at(given, path + ".allocationMode");
    const std::string number = model::text_at(given, path + ".count");
    if ((mode.empty() || mode == "ExactCount") && (number.empty() || number == "0")) draft.set(path + ".count", 1);
  };
  for (size_t i = 0;; ++i) {
    const std::string request = fmt::format("{}.devices.requests[{}]", at, i);
    if (!model::find(given, request).present()) return;
    if (model::find(given, request + ".exactly").present()) one(request + ".exactly");
    for (size_t j = 0; model::find(given, fmt::format("{}.firstAvailable[{}]", request, j)).present(); ++j)
      one(fmt::format("{}.firstAvailable[{}]", request, j));
  }
}

}  // namespace gantry::apigw
