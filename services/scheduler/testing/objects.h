// Nodes and pods for the scheduler's tests, from the parts of their JSON that matter.
#pragma once

#include <string>
#include <string_view>

#include "libs/model/object.h"
#include "services/scheduler/choose.h"

namespace gantry::scheduler::testing {

model::Object object(std::string_view resource, std::string_view json);
/// `labels` and `spec` are JSON objects.
model::Object node(std::string_view name, std::string_view cpu = "4", std::string_view memory = "8Gi",
                   std::string_view labels = "{}", std::string_view spec = "{}", int pods = 110);
/// Of the namespace d. `requests` is a JSON object, `spec` members of the spec with a comma after them.
model::Object pod(std::string_view name, std::string_view requests = "{}", std::string_view spec = "",
                  std::string_view owner = "", std::string_view labels = "{}");
/// The node that is chosen, or why there is none.
std::string place(const Cluster& cluster, const model::Object& pod);

}  // namespace gantry::scheduler::testing
