// Requests for kinds that are stored as another (../convert): turned into requests for what is stored, and their
// answers back.
#pragma once

#include "services/apigw/core/plan.h"

namespace gantry::apigw {

/// Nothing for a kind that is stored itself. Otherwise the command is from here on about the stored kind, and `done`
/// converts. kBadRequest for a body that is not of the kind.
Status see_through(Request& request, size_t max_object_bytes);

/// The same for a watch.
void see_through(WatchRequest& request, WatchCallbacks& callbacks);

}  // namespace gantry::apigw
