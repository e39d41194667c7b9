// A subscriber of one chain that writes down all that it was told, and the change log that it is held against. Loop's
// thread only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "libs/bus/events.h"
#include "libs/state/store.h"

namespace gantry::testing {

/// What each revision was said to mean, by whoever said it.
class Meanings {
 public:
  /// Events of type Put and Delete; others tell of a commit, they are none.
  void hear(const bus::Event& event);
  size_t size() const { return meanings_.size(); }
  const std::vector<std::string>& contradictions() const { return contradictions_; }

 private:
  std::map<std::pair<std::string, uint64_t>, std::string> meanings_;
  std::vector<std::string> contradictions_;
};

/// Revisions by "<namespace>/<name>".
using View = std::map<std::string, uint64_t>;

/// One event of a chain, without the object.
struct Change {
  uint64_t revision = 0;
  bus::EventType type{};
  std::string key;
};
void apply(const Change& change, View& view);

class Subscriber {
 public:
  Subscriber(Loop& loop, bus::Bus& bus, bus::Commands& commands, bus::Chain chain, Meanings& meanings);

  /// From one snapshot to the next, or to the end.
  struct Lap {
    uint64_t head = 0;
    View start;
    std::vector<uint64_t> events;
    uint64_t last() const { return events.empty() ? head : events.back(); }
  };
  const bus::Chain& chain() const { return chain_; }
  const std::vector<Lap>& laps() const { return laps_; }
  const View& view() const { return view_; }
  const bus::Feed& feed() const { return *feed_; }

 private:
  bus::Chain chain_;
  std::vector<Lap> laps_;
  View view_;
  std::unique_ptr<bus::Feed> feed_;
};

/// A resource's whole change log as the store has it: the truth.
class ChangeLog {
 public:
  void add(const state::LogEntry& entry);
  size_t size() const { return commits_; }
  /// What a subscriber of the chain has to see, in order.
  std::vector<Change> of(const bus::Chain& chain) const;
  /// The partition that an object was on last; "" when it was on none.
  std::string node_of(const std::string& key) const;

 private:
  struct Entry {
    Change change;
    std::string ns, node;
    bool main = false;  // else on the node's chain only
  };
  std::vector<Entry> entries_;
  std::map<std::string, std::string> nodes_;
  size_t commits_ = 0;
};

}  // namespace gantry::testing
