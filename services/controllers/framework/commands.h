// The commands that controllers plan, as values. Pure functions.
#pragma once

#include <string>
#include <string_view>

#include "libs/bus/command.h"
#include "libs/model/object.h"

namespace gantry::controllers {

bus::Command create(const model::Kind& kind, std::string_view ns, model::Bytes object);
/// Replaces `base` by `changed`, if `base` is still what is stored.
bus::Command update(const model::Object& base, model::Bytes changed);
/// Replaces the status whatever the revision is now: for the one writer of a status. Guarded by the uid.
bus::Command update_status(const model::Object& base, model::Bytes changed);
/// Merge patch. Guarded by the uid.
bus::Command patch(const model::Object& base, std::string json, std::string_view subresource = "");
/// Guarded by the uid.
bus::Command remove(const model::Object& object, std::string_view propagation = "");
/// Merge patch that takes the finalizer away. Guarded by the revision: others hold finalizers too.
bus::Command drop_finalizer(const model::Object& object, std::string_view finalizer);

/// A JSON string literal.
std::string quote(std::string_view text);

}  // namespace gantry::controllers
