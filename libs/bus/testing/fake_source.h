// What apigw is to feeds, in memory: a change log per resource with its chains, events, heads each second, Snapshot and
// Replay commands. For tests of whatever lives on feeds. Loop's thread only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "libs/bus/events.h"

namespace gantry::testing {

class FakeSource {
 public:
  /// Serves gantry.cmd.*.* on `bus`; other commands than Snapshot and Replay are answered by `other`, if given.
  FakeSource(Loop& loop, bus::Bus& bus, bus::CommandHandler other = nullptr);

  struct Object {
    uint64_t revision = 0;
    std::string object, node;
  };
  /// Creates or changes; the object moves if `node` differs. Returns the revision.
  uint64_t put(const std::string& resource, const std::string& ns, const std::string& name, const std::string& node,
               std::string object);
  uint64_t remove(const std::string& resource, const std::string& ns, const std::string& name);
  /// Tells `node` that something its pods refer to changed.
  uint64_t dependency(const std::string& resource, const std::string& ns, const std::string& name,
                      const std::string& node);

  /// Events are committed but not published while muted (a lost tail).
  void set_muted(bool muted) { muted_ = muted; }
  /// Forgets log entries up to the head, so that replays from before get kExpired.
  void trim(const std::string& resource);
  /// A failover that loses the last `lost` commits: the next commit has a higher store epoch.
  void fail_over(const std::string& resource, size_t lost);
  void publish_heads();

  uint64_t head(const bus::Chain& chain) const;
  /// What a subscriber of the chain must end up with, by "<ns>/<name>".
  std::map<std::string, Object> view(const bus::Chain& chain) const;
  /// True if the log holds an event of the chain with from < revision < to.
  bool between(const bus::Chain& chain, uint64_t from, uint64_t to) const;
  void set_page(uint32_t limit) { page_ = limit; }

 private:
  struct Entry {
    uint64_t revision;
    std::string node, ns, name;  // of the chain that it is in
    bus::EventType type;
    std::string event;
    bool main;  // also in the resource's and the namespace's chain
    std::optional<Object> after;
  };
  struct Log {
    uint64_t epoch = 1, next = 1, trimmed = 0;
    std::vector<Entry> entries;
    std::map<std::string, Object> base;  // the state at `trimmed`
    std::map<std::string, uint64_t> base_heads;
  };
  uint64_t commit(const std::string& resource, const std::string& ns, const std::string& name, const std::string& node,
                  bus::EventType type, std::optional<Object> after);
  void append(Log& log, const std::string& resource, Entry entry, std::string_view object, bool created);
  std::map<std::string, Object> state(const Log& log) const;
  static bool in(const bus::Chain& chain, const Entry& entry);
  void handle(const bus::Command& command, const bus::Respond& respond);

  Loop& loop_;
  bus::Bus& bus_;
  bus::CommandHandler other_;
  std::map<std::string, Log> logs_;
  bool muted_ = false;
  uint32_t page_ = 1000;
  struct Pages {
    uint64_t head;
    std::vector<bus::CommandOutcome::Item> items;
  };
  std::map<std::string, Pages> snapshots_;  // by continue token without the position
  uint64_t next_snapshot_ = 1;
  std::unique_ptr<bus::CommandServer> server_;
  Timer heads_;
};

}  // namespace gantry::testing
