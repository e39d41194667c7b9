// Events of one chain, each once and in order, whatever the bus loses, doubles or delays.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "libs/bus/bus.h"
#include "libs/bus/command.h"
#include "schemas/bus_generated.h"

namespace gantry::bus {

/// Which events: all of a resource, or those on one node's partition, or those of one namespace.
struct Chain {
  std::string resource;
  std::string node;  // set: gantry.events.<resource>.<node>.>  ("_" for the partition of none)
  std::string ns;    // set: gantry.events.<resource>.*.<ns>.>
  std::string subject() const;
  std::string head_subject() const;  // gantry.heads.<resource>.all | node.<node> | namespace.<ns>
};

/// What a feed asks of the gateway, on the chain given by Command.resource and Command.node ("_": the partition of
/// none) or Command.ns:
///   Snapshot  limit, continue_token -> items, continue_token, head: the state at the head, which is that of the chain
///   and the same on all pages Replay    revision, limit, continue_token -> events of the chain after `revision` in
///   order, head (now); kExpired when they were trimmed,
///             kTooLargeRevision when the revision was never given or was lost in a failover. The next page starts
///             after the last event.

/// What a feed tells its owner, on the loop's thread.
struct FeedCallbacks {
  /// The state as of `head`: forget all that was known and take these (items: revision + FlatBuffer object, not yet
  /// verified: model::verify by the resource's kind).
  std::function<void(uint64_t head, const std::vector<CommandOutcome::Item>& items)> reset;
  /// The next event of the chain, verified.
  std::function<void(const Event& event)> event;
  /// Caught up with the head that was current when asked, for the first time or after a repair.
  std::function<void()> synced;
};

/// Subscribes, takes a snapshot, applies the chain rule (accept if previous <= mine < revision, drop what was seen,
/// else repair by Replay, then by Snapshot), checks each head that it hears, asks after reconnects and after minutes of
/// silence, and takes a new snapshot when the store epoch grows or the store has lost what was seen. Failed repairs are
/// repeated with back-off without end. A callback may destroy the feed. Loop's thread only.
class Feed {
 public:
  virtual ~Feed() = default;
  virtual uint64_t revision() const = 0;  // last applied
  virtual bool synced() const = 0;        // no repair is under way
  struct Counters {
    uint64_t events = 0, duplicates = 0, gaps = 0, replays = 0, snapshots = 0;
  };
  virtual const Counters& counters() const = 0;
};
std::unique_ptr<Feed> make_feed(Loop& loop, Bus& bus, Commands& commands, Chain chain, FeedCallbacks callbacks);

/// The subject on which an event travels.
std::string event_subject(std::string_view resource, std::string_view node, std::string_view ns, std::string_view name);

}  // namespace gantry::bus
