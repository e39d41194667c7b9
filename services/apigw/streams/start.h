// The parts of start_stream(). Internal to this folder.
#pragma once

#include "services/apigw/streams/streams.h"

namespace gantry::apigw {

void start_command(const StreamContext& context, StreamRequest stream);  // exec, attach
void start_port_forward(const StreamContext& context, StreamRequest stream);
void start_proxy(const StreamContext& context, StreamRequest stream);

/// What went wrong on the way to a node, in the API server's words.
std::string dial_error(const Error& error);

}  // namespace gantry::apigw
