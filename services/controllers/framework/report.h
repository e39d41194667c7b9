// Statuses as JSON trees: for controllers whose status has many shapes. Pure functions.
#pragma once

#include <nlohmann/json.hpp>

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

/// The object's status, {} when it has none.
nlohmann::json status_of(const model::Object& object);
/// A number that Kubernetes leaves out when it is zero.
void put_count(nlohmann::json& status, const char* field, int64_t value);
/// Adds the command that makes `status` the object's, unless it means the same already. True if it does not.
bool report_status(const model::Object& object, const nlohmann::json& status, Decision& decision);

struct ConditionValue {
  std::string_view type, status, reason, message;
};
/// Sets a condition by its type; its time moves only when its status changes. `now` in unix seconds. True if anything
/// changed.
bool set_condition(nlohmann::json& status, const ConditionValue& value, int64_t now);
/// The condition, or nullptr.
const nlohmann::json* find_condition(const nlohmann::json& status, std::string_view type);
bool condition_true(const nlohmann::json& status, std::string_view type);

}  // namespace gantry::controllers
