// Admission: what the cluster's policy adds to an object and demands of it, after defaults and beside validation. It
// runs inside the plan of a write, so a retry runs it again on what is there then; what must be exact under concurrency
// (a quota) becomes part of the commit. A step is one function, a file each; admission.cc has their order.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "libs/model/draft.h"
#include "libs/state/store.h"
#include "services/apigw/authz/identity.h"
#include "services/apigw/authz/objects.h"
#include "services/apigw/rules/words.h"

namespace gantry::apigw {

/// One write that asks to be admitted.
struct AdmissionRequest {
  const Objects& objects;
  const Identity& identity;
  const model::Kind& kind;
  std::string ns, subresource;
  model::Object before;   // empty: created
  int64_t now = 0;        // unix seconds
  bool automount = true;  // pods get their ServiceAccount's token

  // What the steps leave behind.
  std::vector<std::string> warnings;
  std::vector<state::Guard> guards;
  std::vector<state::Operation> operations;
  /// Resources that a refusal was read from: it counts only if their views are not behind.
  std::vector<std::string> unsure;
  bool pending = false;  // the refusal will pass in a moment by itself

  bool creates() const { return !before; }
};

/// Fills in what policy decides. `object` has its defaults; returns it changed, or as it was.
Result<model::Object> admit_changes(AdmissionRequest& admission, const model::Object& object);
/// Says no, or adds to the commit. `object` is as it would be stored; empty when it is to be erased.
Status admit(AdmissionRequest& admission, const model::Object& object);

// The steps that change objects (`object` is what `draft` is based on).
Status add_service_account(AdmissionRequest& admission, const model::Object& pod, model::Draft& draft);
void add_limit_range_defaults(AdmissionRequest& admission, const model::Object& pod, model::Draft& draft);
Status add_priority(AdmissionRequest& admission, const model::Object& pod, model::Draft& draft);
Status add_runtime_class(AdmissionRequest& admission, const model::Object& pod, model::Draft& draft);
void add_default_ingress_class(AdmissionRequest& admission, const model::Object& ingress, model::Draft& draft);
void add_lost_node_tolerations(const model::Object& pod, model::Draft& draft);
void add_not_ready_taint(const model::Object& node, model::Draft& draft);
void add_default_storage_class(AdmissionRequest& admission, const model::Object& claim, model::Draft& draft);

// The steps that say no.
Status check_inert_fields(AdmissionRequest& admission, const model::Object& object);
Status check_ingress_class(AdmissionRequest& admission, const model::Object& object);
Status check_limit_ranges(AdmissionRequest& admission, const model::Object& object);
Status check_priority_class(AdmissionRequest& admission, const model::Object& priority_class);
Status check_pod_security(AdmissionRequest& admission, const model::Object& object);
Status check_node_restriction(AdmissionRequest& admission, const model::Object& object);

/// status.qosClass of a pod: Guaranteed, Burstable or BestEffort.
const char* qos_class(const model::Object& pod);

}  // namespace gantry::apigw
