// The scale subresource: an autoscaling/v1 Scale is a view of a Deployment or ReplicaSet. Pure.
#pragma once

#include "services/apigw/core/api.h"

namespace gantry::apigw {

const model::Kind& scale_kind();
/// kNotFound for kinds without scale.
Result<model::Object> scale_of(const model::Object& object);
/// Replaces the answer's object by its Scale.
void present_scale(Answer& answer);

}  // namespace gantry::apigw
