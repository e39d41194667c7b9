// Calls to CSI drivers as commands, and what is made of their answers. Pure functions.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

/// A node to ask for this: it has the driver, and `affinity` (may be null) allows it. `only`: this one or none; "" any,
/// ready ones first. Empty: there is none.
std::string node_with(const View& view, std::string_view driver, const api::core_v1::NodeSelector* affinity,
                      const std::string& only);

/// Create nodes/<node>, subresource csi.
bus::Command call_driver(const std::string& node, std::string_view driver, std::string_view method,
                         const nlohmann::json& request);
/// The answer to that call in the decision before; null when there was no such call.
const Answer* answer_to(const Memory& memory, std::string_view method);
nlohmann::json body_of(const Answer& answer);

/// The request for a claim's volume on `node`, by a class.
nlohmann::json creation(const View& view, const model::Object& claim, const model::Object& storage_class,
                        const std::string& node);
/// The PersistentVolume that was made so: pvc-<uid>, pointing to the claim.
nlohmann::json made_volume(const model::Object& claim, const model::Object& storage_class,
                           const nlohmann::json& answer);

}  // namespace gantry::controllers
