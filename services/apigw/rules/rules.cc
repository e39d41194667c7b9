#include "services/apigw/rules/rules.h"

#include <algorithm>
#include <cctype>

#include "libs/model/json.h"
#include "services/apigw/rules/by_type.h"
#include "services/apigw/rules/kinds.h"
#include "services/apigw/rules/tables.h"

namespace gantry::apigw {
namespace {

struct Rules {
  std::string_view resource;
  void (*defaults)(model::Draft&, const model::Object&);
  void (*validate)(const model::Object&, Problems&);
  void (*update)(const model::Object& now, const model::Object& before, Problems&);
};

constexpr Rules kRules[] = {
    {"pods", default_pod, validate_pod, validate_pod_update},
    {"deployments", default_deployment, validate_deployment, validate_selector_update},
    {"replicasets", default_replicaset, validate_replicaset, validate_selector_update},
    {"services", default_service, validate_service, validate_service_update},
    {"endpointslices", default_endpointslice, validate_endpointslice, validate_endpointslice_update},
    {"namespaces", default_namespace, nullptr, nullptr},
    {"configmaps", nullptr, validate_configmap, validate_configmap_update},
    {"secrets", default_secret, validate_secret, validate_secret_update},
    {"nodes", nullptr, validate_node, validate_node_update},
    {"events", nullptr, validate_event, nullptr},
    {"limitranges", default_limitrange, nullptr, nullptr},
    {"rolebindings", default_rolebinding, nullptr, nullptr},
    {"clusterrolebindings", default_clusterrolebinding, nullptr, nullptr},
    {"networkpolicies", default_networkpolicy, nullptr, nullptr},
    {"horizontalpodautoscalers", default_autoscaler, nullptr, nullptr},
    {"resourceclaims", default_device_claim, nullptr, nullptr},
    {"resourceclaimtemplates", default_device_claim, nullptr, nullptr},
    {"statefulsets", nullptr, nullptr, validate_statefulset_update},
    {"jobs", nullptr, nullptr, validate_job_update},
    {"persistentvolumes", nullptr, nullptr, validate_volume_update},
    {"persistentvolumeclaims", nullptr, nullptr, validate_claim_update},
};

const Rules* rules_of(const model::Kind& kind) {
  for (const auto& rules : kRules) {
    if (rules.resource == kind.resource) return &rules;
  }
  return nullptr;
}

}  // namespace

void set_defaults(model::Draft& draft, const model::Object& given) {
  const Rules* rules = rules_of(given.kind());
  if (rules != nullptr && rules->defaults != nullptr) rules->defaults(draft, given);
  default_by_type(draft, given);
  default_by_table(draft, given);
  default_template(draft, given);
}

void validate(const model::Object& object, Problems& problems) {
  validate_meta(object, problems);
  const Rules* rules = rules_of(object.kind());
  if (rules != nullptr && rules->validate != nullptr) rules->validate(object, problems);
  validate_template_kinds(object, problems);
  validate_by_type(object, problems);
}

void validate_update(const model::Object& now, const model::Object& before, std::string_view subresource,
                     Problems& problems) {
  const Rules* rules = rules_of(now.kind());
  if (subresource.empty() && rules != nullptr && rules->update != nullptr) rules->update(now, before, problems);
  if (subresource.empty()) validate_update_by_table(now, before, problems);
  if (subresource == "status") validate_status_update(now, before, problems);
  if (now.kind().resource == "certificatesigningrequests" && !subresource.empty())
    validate_signing_update(now, before, problems);
}

bool plain_key(std::string_view key) {
  return !key.empty() && std::all_of(key.begin(), key.end(), [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_' || c == '/';
  });
}

std::string printed(const model::Type& type, const flatbuffers::Table* table) {
  return table == nullptr ? "null" : model::to_json(type, table);
}

std::string printed(const model::Labels* labels) {
  std::string out = "{";
  for (flatbuffers::uoffset_t i = 0; labels != nullptr && i < labels->size(); ++i) {
    out += (i == 0 ? "" : ",") + quoted(model::str(labels->Get(i)->key())) + ":" +
           quoted(model::str(labels->Get(i)->value()));
  }
  return out + "}";
}

bool has_generation(const model::Kind& kind) {
  static constexpr std::string_view kKinds[] = {"pods",
                                                "deployments",
                                                "replicasets",
                                                "statefulsets",
                                                "daemonsets",
                                                "replicationcontrollers",
                                                "jobs",
                                                "cronjobs",
                                                "poddisruptionbudgets",
                                                "ingresses",
                                                "ingressclasses",
                                                "networkpolicies",
                                                "customresourcedefinitions",
                                                "flowschemas",
                                                "prioritylevelconfigurations",
                                                "servicecidrs",
                                                "validatingadmissionpolicies",
                                                "validatingadmissionpolicybindings",
                                                "deviceclasses",
                                                "resourceslices"};
  return std::find(std::begin(kKinds), std::end(kKinds), kind.resource) != std::end(kKinds);
}

bool has_status(const model::Kind& kind) { return kind.has_subresource("status"); }

const flatbuffers::Table* part(const model::Object& object, std::string_view json_field) {
  const model::Field* field = object.kind().type->by_json(json_field);
  return field == nullptr ? nullptr : object.root()->GetPointer<const flatbuffers::Table*>(field->slot);
}

bool same_part(const model::Object& a, const model::Object& b, std::string_view json_field) {
  const model::Field* field = a.kind().type->by_json(json_field);
  if (field == nullptr) return true;
  const auto *x = part(a, json_field), *y = part(b, json_field);
  if (x == nullptr || y == nullptr) return x == y;
  return model::equal(*field->type, x, y);
}

}  // namespace gantry::apigw
