// The Store on Redis. Every commit is one run of scripts/commit.lua; the layout of the keys is in README.md.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "libs/base/uv_loop.h"
#include "libs/state/redis_options.h"
#include "libs/state/store.h"

namespace gantry::state {

struct RedisStats {
  size_t ready_connections = 0;                                    // of the pipelines for commits
  size_t in_flight = 0;                                            // commits without an answer
  uint64_t commits = 0;                                            // sent
  uint64_t lost = 0;                                               // connections broke under them
  uint64_t resolved_done = 0, resolved_not_done = 0, unknown = 0;  // what became of those
  uint64_t shed = 0;
};

/// Reconnects by itself. While no connection is up, calls fail with kUnavailable. A commit whose connection breaks is
/// looked up by its command id on another one, and fenced there: it ends done, or kUnavailable and will not be done, or
/// kUnknownOutcome when it has no id or no connection came back within resolve_timeout. It is never sent twice.
///
/// Loop's thread only. The loop outlives the store and must turn once more after it. Callbacks due after the store's
/// end are dropped.
class RedisStore final : public Store {
 public:
  RedisStore(UvLoop& loop, RedisOptions options);
  ~RedisStore() override;

  void commit(Commit commit, Callback<Committed> done) override;
  void get(Key key, Callback<std::optional<Stored>> done) override;
  void snapshot(std::string resource, Callback<Snapshot> done) override;
  void read_log(std::string resource, Revision after, size_t limit, Callback<std::vector<LogEntry>> done) override;
  void head(std::string resource, Callback<Revision> done) override;
  void heads(std::string resource, Callback<std::vector<std::pair<std::string, Revision>>> done) override;
  void shares(std::string account, Callback<std::vector<Share>> done) override;
  std::shared_ptr<void> watch(std::string resource, std::function<void()> changed) override;
  void trim(std::string resource, Revision keep_revision, Callback<Done> done) override;
  void set_cursor(std::string name, std::string value, Callback<Done> done) override;
  void get_cursor(std::string name, Callback<std::optional<std::string>> done) override;
  void hold(std::string name, std::string holder, uint32_t ttl_millis, Callback<uint64_t> done) override;

  /// Whether commits, reads and watches work now.
  bool ready() const;
  /// Called on each change of ready(), until the handle is destroyed.
  std::shared_ptr<void> on_ready(std::function<void(bool ready)> changed);
  /// Why the last connection was lost or refused; for readiness checks.
  std::string last_error() const;
  /// The store epoch as last seen; 0 before the first connection.
  uint64_t epoch() const;
  /// Starts a new epoch, as an operator does after a restore by hand. Answers the new one.
  void raise_epoch(Callback<uint64_t> done);
  RedisStats stats() const;

 private:
  class Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace gantry::state
