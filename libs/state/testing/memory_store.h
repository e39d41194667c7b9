// A Store in memory for unit tests and the simulation: the semantics of RedisStore, and the faults of a network and a
// failover on demand.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "libs/state/store.h"
#include "libs/state/testing/memory_state.h"

namespace gantry::state::testing {

/// Deterministic on a ManualLoop. The loop outlives the store; callbacks that are due after the store's end are
/// dropped.
class MemoryStore final : public Store {
 public:
  /// What happens to a call, as the caller and the store see it.
  enum class Fault : uint8_t {
    kNone,
    kUnavailable,  // not done, and the caller knows
    kLostBefore,   // not done; a commit's caller gets kUnknownOutcome, a reader kTimeout
    kLostAfter,    // done; the caller gets the same
  };

  explicit MemoryStore(Loop& loop);
  ~MemoryStore() override;

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

  /// Asked for each commit; default none.
  void set_commit_fault(std::function<Fault(const Commit&)> fault) { commit_fault_ = std::move(fault); }
  /// Asked for every other call; default none. kLostBefore and kLostAfter give kTimeout to readers.
  void set_fault(std::function<Fault()> fault) { fault_ = std::move(fault); }
  /// How long each way of a call takes; default: no time, but never inside the call.
  void set_delay(std::function<Duration()> delay) { delay_ = std::move(delay); }
  /// false: every call fails with kUnavailable, as without a connection.
  void set_available(bool available) { available_ = available; }

  /// The next revision of every resource is of a new epoch, as after a restart.
  void raise_epoch();
  /// The server dies and returns with all that it had: calls in flight get kUnknownOutcome (commits; half of them were
  /// done, by `seed`) or kTimeout, watchers are called, the epoch grows.
  void crash(uint64_t seed = 1);
  /// Keeps a replica that is `commits` writes behind, for promote_replica(). Call before the first write.
  void set_replica_lag(size_t commits);
  /// Fails over to that replica: the last `commits` writes are lost, the epoch grows. crash() for what is in flight.
  void promote_replica(uint64_t seed = 1);

  /// For assertions, without a callback.
  const MemoryState& state() const { return state_; }

 private:
  struct Watcher;
  /// One call between its start and its answer.
  struct Flight {
    bool arrived = false;
    std::function<void()> run;   // the effect, at most once
    std::function<void()> lose;  // the answer when the connection breaks
  };
  using Write = std::function<void(MemoryState&)>;

  template <typename T>
  void call(Fault fault, Code lost, std::function<Result<T>()> run, Callback<T> done);
  Fault next_fault() { return fault_ ? fault_() : Fault::kNone; }
  void later(std::function<void()> callback);
  /// Repeats a write on the replica when that catches up.
  void replicate(Write write);
  void changed(const std::string& resource);
  void wake_all();
  void abort_flights(uint64_t seed);

  Loop& loop_;
  MemoryState state_, replica_;
  size_t lag_ = 0;  // 0: no replica
  std::deque<Write> unreplicated_;
  std::function<Fault(const Commit&)> commit_fault_;
  std::function<Fault()> fault_;
  std::function<Duration()> delay_;
  bool available_ = true;
  std::map<std::string, std::vector<std::weak_ptr<Watcher>>> watchers_;
  uint64_t next_id_ = 1;
  std::map<uint64_t, Flight> flights_;
  std::map<uint64_t, Timer> timers_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace gantry::state::testing
