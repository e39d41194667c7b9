// The current desired and actual state, and the log of how it changed. Production is RedisStore (redis_store.h), tests
// and the simulation use testing::MemoryStore. Only apigw uses this: everybody else talks to apigw.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "libs/base/result.h"

namespace gantry::state {

/// Revisions: epoch * 2^40 + n per resource; never 0, below 2^53.
using Revision = uint64_t;
inline constexpr int kEpochShift = 40;
/// For how long a command id is remembered after its commit.
inline constexpr std::chrono::minutes kCommandWindow{2};

struct Key {
  std::string resource, ns, name;
  bool operator==(const Key&) const = default;
  auto operator<=>(const Key&) const = default;
};

/// What must hold for a commit to happen. All are checked before anything is written.
struct Guard {
  enum class Kind : uint8_t {
    kRevision,     // the object at `key` is at revision `number`; 0: it does not exist
    kUid,          // the object at `key` exists and has uid `text`
    kUidAbsent,    // no object with uid `text` exists (deleting an orphan)
    kUidPresent,   // an object with uid `text` exists (an owner)
    kClaimAbsent,  // nobody holds the claim `text`
    kCounter,      // counter `text` plus `delta` stays within 0..`number`
    kLease,        // lease `text` has not been taken with an epoch above `number`
    kSequence,     // (`number`, `number2`) is above what was accepted before under `text`; accepted with the commit
  };
  Kind kind = Kind::kRevision;
  Key key = {};
  std::string text = {};
  uint64_t number = 0, number2 = 0;
  int64_t delta = 0;
};

/// One change. Put and Delete each make one revision of the key's resource, one log entry and one event.
struct Operation {
  enum class Kind : uint8_t {
    kPut,      // write `object` at `key`
    kDelete,   // remove `key`; `object` in the event is the last state
    kClaim,    // take the claim `text` for `uid`; kAlreadyExists when another uid holds it
    kRelease,  // let go of the claim `text` if `uid` holds it
    kCount,    // add `delta` to the counter `text` (guard with kCounter)
    kLease,    // raise the lease `text` to epoch `number`
    /// Set the share of `uid` on the account `text` to `number`; kForbidden ("share") if the account's sum would grow
    /// past `delta` (-1: no limit). At most once an account and commit.
    kShare,
    kCloseAccount,  // forget the account `text` and all its shares
  };
  Kind kind = Kind::kPut;
  Key key = {};
  std::string uid = {};     // of the object, or the claim's holder
  std::string object = {};  // FlatBuffer to store (Put)
  /// The serialized gantry.bus.Event with revision and previous* = 1 as place holders: filled in by readers of the log,
  /// from what the commit assigned.
  std::string event = {};
  std::string node = {};      // partition after the change ("" = none)
  std::string old_node = {};  // partition before; if it differs, its chain also gets an entry of type Left
  /// Partitions that must be told "dependency changed": each gets an entry of type Dependency on its node chain.
  std::vector<std::string> dependents = {};
  std::string text = {};
  uint64_t number = 0;
  int64_t delta = 0;
};

/// Who has how much on an account.
struct Share {
  std::string uid;
  uint64_t number = 0;
};

struct Commit {
  std::string command_id;  // deduplicated within a window (kCommandWindow); empty: not
  std::vector<Guard> guards;
  std::vector<Operation> operations;
};

struct Committed {
  std::vector<Revision> revisions;  // one for each Put and Delete, in order
  bool duplicate = false;           // the outcome of an earlier commit with this command id
};

/// One entry of a resource's change log.
struct LogEntry {
  Revision revision = 0;
  std::string event;  // a verified gantry.bus.Event, revision and previous* filled in
  /// Further events of the same revision, for node chains only (Left, Dependency): partition and serialized event.
  std::vector<std::pair<std::string, std::string>> node_events;
};

struct Stored {
  Key key;
  Revision revision = 0;
  std::string object;
};

struct Snapshot {
  Revision revision = 0;  // the objects are exactly the state at this revision of the resource
  std::vector<Stored> objects;
};

template <typename T>
using Callback = std::function<void(Result<T>)>;

/// All calls on one loop's thread; callbacks come on it, never inside the call. A call's arguments are copied. Errors
/// of any call: kUnavailable (not done: no connection), kTimeout (read not answered).
class Store {
 public:
  virtual ~Store() = default;

  /// All or nothing. The callback gets its answer only after the commit is durable. Errors:
  /// kConflict (a kRevision or kUid guard; current_revision says what is there; message names the guard), kNotFound (a
  /// kRevision or kUid guard on a missing object), kAlreadyExists (kRevision 0, or a claim), kForbidden (kLease,
  /// kSequence, kUidAbsent...: message says which; causes[0].field is "lease", "sequence", "owner", "claim",
  /// "counter", "share": current_revision is the account's sum), kUnknownOutcome (the connection was lost and the
  /// commit could not be resolved by its id).
  virtual void commit(Commit commit, Callback<Committed> done) = 0;

  virtual void get(Key key, Callback<std::optional<Stored>> done) = 0;
  virtual void snapshot(std::string resource, Callback<Snapshot> done) = 0;
  /// Log entries with revision > `after`, at most `limit`, in order. kExpired when `after` was trimmed.
  virtual void read_log(std::string resource, Revision after, size_t limit, Callback<std::vector<LogEntry>> done) = 0;
  /// The last revision of a resource, 0 when it never had one.
  virtual void head(std::string resource, Callback<Revision> done) = 0;
  /// Heads of all chains of a resource: "all", "node.<token>", "namespace.<token>".
  virtual void heads(std::string resource, Callback<std::vector<std::pair<std::string, Revision>>> done) = 0;
  /// Every share on the account, in no order.
  virtual void shares(std::string account, Callback<std::vector<Share>> done) = 0;
  /// Called after each new log entry of the resource (coalesced) until the returned handle is destroyed: read_log from
  /// where you are. There may be spurious calls; none is lost.
  virtual std::shared_ptr<void> watch(std::string resource, std::function<void()> changed) = 0;
  /// Drops log entries that are older than `keep_revision` (exclusive).
  virtual void trim(std::string resource, Revision keep_revision, Callback<Done> done) = 0;

  /// A small durable value, e.g. the relay's cursor.
  virtual void set_cursor(std::string name, std::string value, Callback<Done> done) = 0;
  virtual void get_cursor(std::string name, Callback<std::optional<std::string>> done) = 0;
  /// A mutual-exclusion lease held in the store itself, for what runs inside apigw (the relay): takes or renews `name`
  /// for `holder`; answers the epoch held, or kConflict when another holds it.
  virtual void hold(std::string name, std::string holder, uint32_t ttl_millis, Callback<uint64_t> done) = 0;
};

}  // namespace gantry::state
