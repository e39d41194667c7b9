// From what a commit left in the change log to the events that readers get: revisions are only known inside the commit,
// so an event is stored with place holders and completed on the way out. Pure functions, thread-safe.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "libs/base/result.h"
#include "libs/state/store.h"

namespace gantry::state {

/// What the commit script keeps beside an event: the revision before it in every chain that it is on.
struct Chains {
  struct NodeEvent {
    bool operator==(const NodeEvent&) const = default;
    bool left = false;  // EventType::Left, else Dependency
    Revision previous = 0;
    std::string node;
  };
  Revision previous = 0, in_node = 0, in_namespace = 0;
  std::vector<NodeEvent> node_events;
  bool operator==(const Chains&) const = default;
};

/// `<previous> <in_node> <in_namespace>`, then ` L<previous>:<token>` or ` D<previous>:<token>` for each node event.
/// commit.lua writes the same.
std::string encode_chains(const Chains& chains);
/// kInternal on what encode_chains never writes.
Result<Chains> decode_chains(std::string_view text);

/// Whether `event` is a sound gantry.bus.Event with the place holders that make_log_entry fills in; kInvalid else.
Status check_event(std::string_view event);
/// The entry as readers get it. kInternal when the stored bytes are no event.
Result<LogEntry> make_log_entry(Revision revision, std::string event, const Chains& chains);

/// The chains that an object is on, as fields of `:head`.
std::string node_chain(std::string_view node);
std::string namespace_chain(std::string_view ns);
inline constexpr std::string_view kAllChain = "all";

}  // namespace gantry::state
