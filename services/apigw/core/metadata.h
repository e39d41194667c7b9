// What clients may say about an object's metadata and what the gateway says. Pure.
#pragma once

#include "libs/model/draft.h"
#include "services/apigw/core/plan.h"

namespace gantry::apigw {

/// Name (or a generated one), namespace, uid, creationTimestamp, generation; nothing that only the gateway may set.
/// `status` goes where it has its own subresource. Errors: kBadRequest, kInvalid.
Status prepare_create(const Request& request, const model::Object& given, model::Draft& draft);

/// Checks name, namespace, uid and resourceVersion (kBadRequest, kConflict) of a body that is to replace `before`.
Status check_same(const Request& request, const model::Object& given, const model::Object& before);

/// Metadata that stays as it was: uid, creationTimestamp, deletion fields, generation,
/// managedFields.
void keep_metadata(model::Draft& draft, const model::Object& before);

/// `pods "x" is forbidden ...` when `finalizers` grew although `before` is being deleted.
void check_finalizers(const model::Object& after, const model::Object& before, class Problems& problems);

}  // namespace gantry::apigw
