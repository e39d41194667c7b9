#include "services/apigw/admission/admission.h"

#include "services/apigw/admission/quota.h"

namespace gantry::apigw {

Result<model::Object> admit_changes(AdmissionRequest& a, const model::Object& object) {
  const std::string& resource = a.kind.resource;
  if (!a.subresource.empty()) return object;
  if (resource == "resourcequotas" && !a.creates()) return untrack_new_resources(a, object);
  if (!a.creates()) return object;
  if (resource != "pods" && resource != "nodes" && resource != "persistentvolumeclaims" && resource != "ingresses")
    return object;
  model::Draft draft(object);
  if (resource == "nodes") add_not_ready_taint(object, draft);
  if (resource == "persistentvolumeclaims") add_default_storage_class(a, object, draft);
  if (resource == "ingresses") add_default_ingress_class(a, object, draft);
  if (resource != "pods") return draft.build();
  add_limit_range_defaults(a, object, draft);
  if (auto added = add_service_account(a, object, draft); !added.ok()) return added.error();
  if (auto added = add_priority(a, object, draft); !added.ok()) return added.error();
  if (auto added = add_runtime_class(a, object, draft); !added.ok()) return added.error();
  add_lost_node_tolerations(object, draft);
  model::Object changed = draft.build();
  model::Draft classed(changed);
  classed.set("status.qosClass", qos_class(changed));
  return classed.build();
}

Status admit(AdmissionRequest& a, const model::Object& object) {
  if (object) {
    using Step = Status (*)(AdmissionRequest&, const model::Object&);
    for (const Step step : {check_inert_fields, check_ingress_class, check_limit_ranges, check_priority_class,
                            check_node_restriction, check_pod_security}) {
      if (auto said = step(a, object); !said.ok()) return said;
    }
  }
  return charge_quotas(a, object);
}

}  // namespace gantry::apigw
