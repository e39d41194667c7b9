// The rules of each kind, for rules.cc to put together. `at` is the JSON path of what is looked at: "spec",
// "spec.template.spec".
#pragma once

#include <string>
#include <vector>

#include "libs/model/draft.h"
#include "libs/model/object.h"
#include "libs/model/selector.h"
#include "schemas/api/core_v1_generated.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {

// defaults_pod.cc
void default_pod(model::Draft& draft, const model::Object& given);
void default_pod_spec(model::Draft& draft, const std::string& at, const api::core_v1::PodSpec* spec);
// defaults_workloads.cc
void default_deployment(model::Draft& draft, const model::Object& given);
void default_replicaset(model::Draft& draft, const model::Object& given);
// defaults_service.cc
void default_service(model::Draft& draft, const model::Object& given);
void default_endpointslice(model::Draft& draft, const model::Object& given);
// defaults_other.cc
void default_namespace(model::Draft& draft, const model::Object& given);
void default_secret(model::Draft& draft, const model::Object& given);
void default_limitrange(model::Draft& draft, const model::Object& given);
void default_rolebinding(model::Draft& draft, const model::Object& given);
void default_clusterrolebinding(model::Draft& draft, const model::Object& given);
void default_networkpolicy(model::Draft& draft, const model::Object& given);
void default_device_claim(model::Draft& draft, const model::Object& given);
void default_autoscaler(model::Draft& draft, const model::Object& given);

// validate_meta.cc
void validate_meta(const model::Object& object, Problems& problems);
void validate_labels(const model::Labels* labels, const std::string& at, Problems& problems);
void validate_label_selector(const api::meta_v1::LabelSelector* selector, const std::string& at, Problems& problems);
/// Of a template: labels and annotations.
void validate_template_meta(const api::meta_v1::ObjectMeta* meta, const std::string& at, Problems& problems);
// validate_pod.cc
void validate_pod(const model::Object& pod, Problems& problems);
/// `claims`: names of volumes that its pods get besides (a StatefulSet's claims).
void validate_pod_spec(const api::core_v1::PodSpec* spec, const std::string& at, Problems& problems,
                       const std::vector<std::string_view>& claims = {});
void validate_pod_update(const model::Object& now, const model::Object& before, Problems& problems);
// validate_container.cc
void validate_containers(const api::core_v1::PodSpec& spec, const std::string& at, Problems& problems,
                         const std::vector<std::string_view>& claims);
// validate_volume.cc
void validate_volumes(const api::core_v1::PodSpec& spec, const std::string& at, Problems& problems);
// validate_workloads.cc
void validate_deployment(const model::Object& deployment, Problems& problems);
void validate_replicaset(const model::Object& replicaset, Problems& problems);
void validate_selector_update(const model::Object& now, const model::Object& before, Problems& problems);
// validate_service.cc
void validate_service(const model::Object& service, Problems& problems);
void validate_service_update(const model::Object& now, const model::Object& before, Problems& problems);
void validate_endpointslice(const model::Object& slice, Problems& problems);
void validate_endpointslice_update(const model::Object& now, const model::Object& before, Problems& problems);
// validate_config.cc
void validate_configmap(const model::Object& configmap, Problems& problems);
void validate_configmap_update(const model::Object& now, const model::Object& before, Problems& problems);
void validate_secret(const model::Object& secret, Problems& problems);
void validate_secret_update(const model::Object& now, const model::Object& before, Problems& problems);
// validate_other.cc
void validate_node(const model::Object& node, Problems& problems);
void validate_node_update(const model::Object& now, const model::Object& before, Problems& problems);
void validate_event(const model::Object& event, Problems& problems);
// updates.cc: what may not change, where it takes more than a row of tables.cc
void validate_statefulset_update(const model::Object& now, const model::Object& before, Problems& problems);
void validate_job_update(const model::Object& now, const model::Object& before, Problems& problems);
void validate_volume_update(const model::Object& now, const model::Object& before, Problems& problems);
void validate_claim_update(const model::Object& now, const model::Object& before, Problems& problems);
/// Of a CertificateSigningRequest's status, through any subresource.
void validate_signing_update(const model::Object& now, const model::Object& before, Problems& problems);

// validate_status.cc
void validate_status_update(const model::Object& now, const model::Object& before, Problems& problems);
/// Paths of its table that their kinds do not have: none.
std::vector<std::string> unknown_counts();

// templates.cc: StatefulSets, DaemonSets, Jobs, CronJobs, ReplicationControllers, PodTemplates
void default_template(model::Draft& draft, const model::Object& given);
void validate_template_kinds(const model::Object& object, Problems& problems);

/// Whether a map's key may stand in a Draft's path.
bool plain_key(std::string_view key);
inline constexpr std::string_view kImmutable = "field is immutable";
/// A table as JSON, for messages.
std::string printed(const model::Type& type, const flatbuffers::Table* table);
/// A label map as JSON, for messages.
std::string printed(const model::Labels* labels);

}  // namespace gantry::apigw
