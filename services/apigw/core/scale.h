// The scale subresource: an autoscaling/v1 Scale is a view of anything with spec.replicas and a selector (Deployment,
// ReplicaSet, StatefulSet, ReplicationController). Pure.
#pragma once

#include "services/apigw/core/api.h"

namespace gantry::apigw {

const model::Kind& scale_kind();
/// kNotFound for kinds without scale.
Result<model::Object> scale_of(const model::Object& object);
/// spec.replicas of a scalable object; 1 when it does not say.
int32_t scaled_to(const model::Object& object);
/// Replaces the answer's object by its Scale.
void present_scale(Answer& answer);

}  // namespace gantry::apigw
