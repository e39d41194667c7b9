// The commands of the scheduler, under its lease. Pure functions.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "libs/bus/command.h"
#include "libs/model/object.h"

namespace gantry::scheduler {

/// Who gives orders: apigw refuses those of an older epoch of the lease.
struct Author {
  std::string name;  // as field manager
  std::string lease;
  uint64_t epoch = 0;
};

/// Of a pod or a claim, by uid.
bus::Command order(const Author& author, const model::Object& about, bus::Verb verb);
/// Merged strategically: conditions by their type.
bus::Command patch_status(const Author& author, const model::Object& pod, const nlohmann::json& status);

bus::Command patch_conditions(const Author& author, const model::Object& pod, nlohmann::json condition);

/// What a condition says; its last transition is `now`, unless the pod has it with that status since before.
nlohmann::json condition(const model::Object& pod, std::string_view type, std::string_view status,
                         std::string_view reason, std::string_view message, int64_t now_seconds);

}  // namespace gantry::scheduler
