// Pods as their owners' templates describe them. Pure functions.
#pragma once

#include "libs/model/draft.h"
#include "libs/model/object.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::controllers {

/// A pod controlled by `owner`, with the template's labels, annotations, finalizers and spec; the caller names it.
/// `owner` and `pod_template` outlive the Draft.
model::Draft pod_from_template(const model::Object& owner, const api::core_v1::PodTemplateSpec* pod_template);

/// What generateName must be so that "<base>-<infix>-" and five random characters have room in a pod's name.
std::string name_prefix(std::string_view base, std::string_view infix = "");

/// When its last container ended, as unix seconds; what comes nearest to it where containers do not say.
int64_t pod_finished_at(const model::Object& pod);

}  // namespace gantry::controllers
