// Which objects belong to a selecting owner: adopts what matches and has no controller, releases what no longer
// matches. As Kubernetes' ControllerRefManager.
#pragma once

#include <vector>

#include "libs/model/object.h"
#include "libs/model/selector.h"
#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

/// Sets metadata.ownerReferences[+] to a controller reference (blockOwnerDeletion) to `owner`. A `finalizer` is added
/// where it is missing.
model::Bytes with_controller(const model::Object& object, const model::Object& owner, std::string_view finalizer = "");
/// Without the reference to `owner_uid`, and without the `finalizer`.
model::Bytes without_owner(const model::Object& object, std::string_view owner_uid, std::string_view finalizer = "");

/// Those that `owner` controls now (still matching). Adds the commands that adopt and release to `decision`; what is
/// being adopted counts from the next decision on. Nothing is adopted by an owner, nor is an object adopted, that is
/// being deleted. `eligible` filters candidates for adoption. A `finalizer` comes and goes with the reference.
std::vector<model::Object> claim(const View& view, std::string_view resource, const model::Object& owner,
                                 const model::LabelSelector& selector,
                                 const std::function<bool(const model::Object&)>& eligible, Decision& decision,
                                 std::string_view finalizer = "");

}  // namespace gantry::controllers
