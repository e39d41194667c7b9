// From a command's body to an object. Pure.
#pragma once

#include "services/apigw/core/plan.h"

namespace gantry::apigw {

/// The body (FlatBuffer or JSON) as an object of `kind`, verified. Errors: kBadRequest, kTooLarge. Unknown fields are
/// refused, collected in `warnings` or ignored, as command.field_validation says (Strict, Warn by default, Ignore).
Result<model::Object> decode_body(const model::Kind& kind, const bus::Command& command, size_t max_bytes,
                                  std::vector<std::string>* warnings);

/// `target` with the command's patch (JSON, merge or strategic merge) applied. kBadRequest for what is no patch,
/// kInvalid for one that does not fit the object.
Result<model::Object> apply_patch(const model::Object& target, const bus::Command& command, size_t max_bytes,
                                  std::vector<std::string>* warnings);

/// An object or a patch beyond what may be stored.
Error too_large(size_t limit);

}  // namespace gantry::apigw
