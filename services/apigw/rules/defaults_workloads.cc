#include "schemas/api/apps_v1_generated.h"
#include "services/apigw/rules/kinds.h"

namespace gantry::apigw {

using model::str;

void default_deployment(model::Draft& draft, const model::Object& given) {
  const auto* spec = given.as<api::apps_v1::Deployment>()->spec();
  if (spec == nullptr) return;
  const auto* strategy = spec->strategy();
  const std::string_view type = strategy == nullptr ? std::string_view() : str(strategy->type());
  if (type.empty()) draft.set("spec.strategy.type", "RollingUpdate");
  if (type.empty() || type == "RollingUpdate") {
    const auto* rolling = strategy == nullptr ? nullptr : strategy->rolling_update();
    if (rolling == nullptr || rolling->max_unavailable() == nullptr)
      draft.set("spec.strategy.rollingUpdate.maxUnavailable", "25%");
    if (rolling == nullptr || rolling->max_surge() == nullptr) draft.set("spec.strategy.rollingUpdate.maxSurge", "25%");
  }
  if (spec->template_() != nullptr) default_pod_spec(draft, "spec.template.spec", spec->template_()->spec());
}

void default_replicaset(model::Draft& draft, const model::Object& given) {
  const auto* spec = given.as<api::apps_v1::ReplicaSet>()->spec();
  if (spec == nullptr) return;
  if (spec->template_() != nullptr) default_pod_spec(draft, "spec.template.spec", spec->template_()->spec());
}

}  // namespace gantry::apigw
