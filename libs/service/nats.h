// The bus of a service from its flags.
#pragma once

#include <memory>

#include "libs/base/uv_loop.h"
#include "libs/bus/bus.h"
#include "libs/service/flags.h"

namespace gantry::service {

/// Connects in the background.
std::unique_ptr<bus::Bus> connect_nats(UvLoop& loop, const CommonOptions& options);

}  // namespace gantry::service
