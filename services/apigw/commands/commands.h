// Commands from the bus to the core: who sends (the identity in the subject) becomes a user, answers become outcomes.
// Loop's thread only.
#pragma once

#include "libs/bus/command.h"
#include "services/apigw/core/api.h"

namespace gantry::apigw {

/// The handler for bus::make_command_server. `api` and `loop` outlive it.
bus::CommandHandler command_handler(Loop& loop, Api& api);

/// One answer in the form that the command asked for (FlatBuffers, JSON or a Table).
bus::CommandOutcome outcome_of(const bus::Command& command, Answer answer, WallMicros now);

}  // namespace gantry::apigw
