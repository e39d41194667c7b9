// Which pods go first when there are too many.
#pragma once

#include <functional>
#include <vector>

#include "libs/model/object.h"

namespace gantry::controllers {

/// The `count` pods to delete, in Kubernetes' order: without a node, Pending before Unknown before Running, not ready,
/// lower pod-deletion-cost, on a node with more pods of the same application (`on_node`), ready for a shorter time,
/// more restarts, younger; then by name.
std::vector<model::Object> pick_victims(std::vector<model::Object> pods, size_t count,
                                        const std::function<int(std::string_view node)>& on_node);

}  // namespace gantry::controllers
