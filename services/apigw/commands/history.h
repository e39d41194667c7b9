// What became of an object, as JetStream has kept it: commands Get (one object) and List (those of a namespace, or all)
// with the subresource "history". Who may get or list the objects may read their history; a Secret's has no data.
//
//   limit            events of one answer (1000, and not more than 3 MiB of them)
//   continue_token   where the page before has ended
//
// The outcome: `events` in the order in which they were committed, a continue_token if there are more, and as JSON
// {"since": micros} when the history begins: what is older was trimmed, or was before there was a history. kUnavailable
// without JetStream.
#pragma once

#include "libs/bus/command.h"
#include "services/apigw/core/api.h"

namespace gantry::apigw {

inline constexpr const char* kHistory = "history";

/// `next` gets every other command. All outlive it.
bus::CommandHandler with_history(Loop& loop, bus::Bus& bus, const Api& api, std::string stream,
                                 bus::CommandHandler next);

}  // namespace gantry::apigw
