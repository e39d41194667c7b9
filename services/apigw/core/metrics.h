// The metrics API (metrics.k8s.io): what nodes and pods use, made when it is asked for.
#pragma once

#include "libs/usage/usage_board.h"
#include "services/apigw/core/api.h"
#include "services/apigw/core/world.h"

namespace gantry::apigw {

/// What read_metrics() answers for, as opposed to reviews, which are asked by creating them.
inline bool is_metrics(const model::Kind& kind) { return kind.group == "metrics.k8s.io"; }

/// Get or List of NodeMetrics or PodMetrics: of the nodes and pods that `world` has and `board` (null: of none) has
/// measured, with their labels. A pod's use counts only from the node that it is bound to. kNotFound, kBadRequest (a
/// selector).
Result<Answer> read_metrics(const model::Kind& kind, const bus::Command& command, const usage::UsageBoard* board,
                            const World& world);

}  // namespace gantry::apigw
