// What the updates of an object and of its subresources share. Pure.
#pragma once

#include "services/apigw/core/managers.h"

namespace gantry::apigw {

/// The body that is to replace (a part of) an object, and the owners of its fields if an apply says so.
struct Replacement {
  model::Object given;
  std::optional<model::ManagedFields> owners;
};

/// Sent whole, or `target` with a patch or a configuration applied; checked against `before`'s name, uid and revision
/// (`target` is the object itself or its Scale).
Result<Replacement> replacement(const Context& context, Request& request, const model::Object& target,
                                const model::Object& before);

/// `after` with its managedFields: those of the apply, or what the update makes of them. `said`: where the client may
/// have said something about them, else null.
model::Object with_owners(const Request& request, const model::Object& before, const model::Object* said,
                          std::optional<model::ManagedFields> owners, model::Object after);

/// Counts the change in metadata.generation if the spec differs.
model::Object with_generation(const model::Object& before, model::Object after);

/// From `before` to `after`: nothing if they mean the same, and the end of an object that nothing keeps any more.
Plan settle(const Context& context, const model::Object& before, model::Object after);

// The subresources.
Result<Plan> update_status(const Context& context, Request& request, const model::Object& before);
Result<Plan> update_scale(const Context& context, Request& request, const model::Object& before);
Result<Plan> update_finalizers(const Context& context, Request& request, const model::Object& before);
Result<Plan> update_ephemeral_containers(const Context& context, Request& request, const model::Object& before);
Result<Plan> update_resources(const Context& context, Request& request, const model::Object& before);
Result<Plan> update_approval(const Context& context, Request& request, const model::Object& before);

}  // namespace gantry::apigw
