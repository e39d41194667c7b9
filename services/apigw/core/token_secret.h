// Secrets of type kubernetes.io/service-account-token: a ServiceAccount's token that is good as long as the Secret and
// the account exist, for whoever cannot ask for tokens that end. Pure but for the views that it reads.
#pragma once

#include "services/apigw/core/planners.h"

namespace gantry::apigw {

/// The Secret with its token, authority and namespace, as far as they are missing. Any other object, and one whose
/// account is not there (a warning says so), as it was. An error only if the view of accounts may be behind.
Result<model::Object> with_token(const Context& context, Request& request, const model::Object& object);

}  // namespace gantry::apigw
