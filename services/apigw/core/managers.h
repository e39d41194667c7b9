// What a write does to metadata.managedFields, and server-side apply. Pure.
//
// Objects are tracked when their creator is (a client that names a field manager, as every HTTP client does, if only by
// its User-Agent) and from their first apply on. What our own services create is not, so that a ReplicaSet's pods do
// not carry what nobody will ever apply. What they change in tracked objects is.
#pragma once

#include "libs/model/managed_fields.h"
#include "services/apigw/core/planners.h"

namespace gantry::apigw {

/// True for clients whose new objects are tracked, and who may say something about owners.
bool tracked(const Request& request);

/// The writer as managedFields names it, without fields.
model::ManagedEntry writer_of(const Request& request, const model::Kind& kind);

/// Writes the managedFields of a new object into `draft`: all of `sent` (the body with defaults) is its creator's.
/// Nothing when the creator is not tracked. `given` is the body as it came.
void note_creation(const Request& request, const model::Object& given, const model::Object& sent, model::Draft& draft);

/// The managedFields after an update from `before` to `after`; nullopt when they stay as they are. `given` is the
/// client's body, which may say something about them; null where it cannot (subresources).
std::optional<model::ManagedFields> note_change(const Request& request, const model::Object& before,
                                                const model::Object* given, const model::Object& after);

/// What comes of applying the request's configuration.
struct Applied {
  model::Object object;         // merged and pruned, decoded; without defaults
  model::ManagedFields owners;  // to be stored with it
};
/// `before` is empty when the object is to be created. Errors in the API's words: kBadRequest, kConflict with the
/// managers and fields (unless the request forces).
Result<Applied> apply_configuration(const Context& context, Request& request, const model::Object& before);

/// The replicas that an applied Scale asks for (nullopt: it does not say) and the managedFields that follow for
/// `before`, its owner.
struct AppliedScale {
  std::optional<int32_t> replicas;
  model::ManagedFields owners;
};
Result<AppliedScale> apply_scale(Request& request, const model::Object& before);

}  // namespace gantry::apigw
