// The data of a MemoryStore and what a commit does to it: commit.lua in C++. A value without a loop, so that a lagging
// replica is simply a second one that applies the same calls later.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "libs/base/loop.h"
#include "libs/state/event_log.h"
#include "libs/state/store.h"

namespace gantry::state::testing {

class MemoryState {
 public:
  Result<Committed> commit(const Commit& commit, WallMicros now);
  std::optional<Stored> get(const Key& key) const;
  Snapshot snapshot(const std::string& resource) const;
  Result<std::vector<LogEntry>> read_log(const std::string& resource, Revision after, size_t limit) const;
  Revision head(const std::string& resource) const;
  std::vector<std::pair<std::string, Revision>> heads(const std::string& resource) const;
  std::vector<Share> shares(const std::string& account) const;
  void trim(const std::string& resource, Revision keep);
  Result<uint64_t> hold(const std::string& name, const std::string& holder, uint32_t ttl_millis, WallMicros now);
  std::map<std::string, std::string>& cursors() { return cursors_; }

  uint64_t epoch() const { return epoch_; }
  void set_epoch(uint64_t epoch) { epoch_ = epoch; }
  size_t object_count() const;

 private:
  struct Object {
    Revision revision;
    std::string bytes;
  };
  struct Entry {
    std::string event;
    Chains chains;
  };
  struct Resource {
    std::map<std::pair<std::string, std::string>, Object> objects;
    Revision head = 0, trimmed = 0;
    std::map<Revision, Entry> log;
    std::map<std::string, Revision> heads;
  };
  struct Lease {
    uint64_t epoch = 0;
    std::string holder;
    WallMicros expires = 0;
  };
  struct Record {
    std::vector<Revision> revisions;
    WallMicros expires;
  };

  const Object* find(const Key& key) const;
  std::optional<Error> check(const Guard& guard) const;
  std::optional<Error> check_operations(const std::vector<Operation>& operations) const;
  /// What `uid` has on the account, and the account's sum.
  std::pair<uint64_t, uint64_t> share(const std::string& account, const std::string& uid) const;
  Revision append(const Operation& operation, bool existed);
  Revision next_head(Resource& resource, const std::string& chain, Revision revision);
  void forget_commands(WallMicros now);

  uint64_t epoch_ = 1;
  std::map<std::string, Resource> resources_;
  std::map<std::string, Key> uids_;
  std::map<std::string, std::string> claims_;
  std::map<std::string, int64_t> counters_;
  std::map<std::string, std::map<std::string, uint64_t>> accounts_;
  std::map<std::string, Lease> leases_;
  std::map<std::string, std::pair<uint64_t, uint64_t>> sequences_;
  std::map<std::string, Record> commands_;
  std::vector<std::pair<WallMicros, std::string>> command_order_;
  std::map<std::string, std::string> cursors_;
};

}  // namespace gantry::state::testing
