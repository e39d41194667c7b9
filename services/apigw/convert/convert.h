// Kinds that are stored as another: autoscaling/v1 HorizontalPodAutoscaler as autoscaling/v2, events.k8s.io/v1 Event as
// core/v1. The gateway converts at its edge: what comes in before it is planned, what goes out after. Nothing is lost
// on the way there and back. Pure, thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "libs/model/object.h"

namespace gantry::apigw {

/// The kind of this token if it is stored as another, else null.
const model::Kind* view_of(std::string_view token);

/// `object` as `to`: itself, what is stored for it, or what it is stored for. The revision stays.
model::Object convert(const model::Object& object, const model::Kind& to);

/// A field selector of the view in the words of what is stored.
std::string stored_selector(const model::Kind& view, std::string_view selector);

}  // namespace gantry::apigw
