// One watch: a position in a mirror's window of changes. A slow peer costs nothing but its position: there is no queue
// of its own. Loop's thread only.
#pragma once

#include "services/apigw/core/api.h"
#include "services/apigw/core/mirror.h"
#include "services/apigw/core/reads.h"

namespace gantry::apigw {

/// Starts in a later turn of the loop; errors of the request itself come through callbacks.error too.
std::unique_ptr<Watch> watch_mirror(Loop& loop, Mirror& mirror, WatchRequest request, WatchCallbacks callbacks);
/// A watch that ends with `error` in a later turn of the loop.
std::unique_ptr<Watch> failed_watch(Loop& loop, Error error, WatchCallbacks callbacks);

}  // namespace gantry::apigw
