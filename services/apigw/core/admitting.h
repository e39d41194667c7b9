// Admission as part of a plan. Pure but for the views that it reads.
#pragma once

#include "services/apigw/admission/admission.h"
#include "services/apigw/core/planners.h"

namespace gantry::apigw {

/// `before` is empty for a create.
AdmissionRequest admission_for(const Context& context, const Request& request, const model::Object& before);
/// Hands to the request and the plan what admission said, or the refusal with what it was read from.
Status admit_plan(const Context& context, Request& request, AdmissionRequest& admission, Plan& plan);
/// The end of a plan that changes or erases `before`.
Result<Plan> admitted(const Context& context, Request& request, const model::Object& before, Result<Plan> plan);
/// What a namespace has from its first moment: the ServiceAccount default and the ConfigMap kube-root-ca.crt.
std::vector<model::Object> namespace_content(const Context& context, const Request& request, std::string_view ns);

}  // namespace gantry::apigw
