// Drives one controller: queue, commands, waiting for the view.
//
// The rule that makes decisions from a cache safe: a key is decided only while no command of its last decision is
// unanswered and every cache covers the revisions that those commands returned. So a decision always sees what was done
// before it, and nothing is created twice. Across processes the lease does the same: each command carries the lease's
// epoch, a newer leader's epoch fences older commands, and a new leader first catches up with the heads that it reads
// after it took the lease.
//
// Each command says what it was sent for (`because`): the change that woke the key, as "<resource>/<key>@<revision>".
// Changes that the key's own commands made do not count; the cause before them holds on.
//
// A command with an unknown outcome is sent again with its id until it is known. Failures back off per key. Loop's
// thread only.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "libs/base/loop.h"
#include "libs/bus/command.h"
#include "libs/projection/catch_up.h"
#include "libs/projection/recorder.h"
#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

class Runner {
 public:
  struct Options {
    size_t max_in_flight = 2'000;  // commands; beyond it no new decision begins
    size_t decisions_per_turn = 64;
    Duration backoff_first = std::chrono::milliseconds(10), backoff_max = std::chrono::seconds(60);
    Duration resend = std::chrono::seconds(1);            // of a command with an unknown outcome
    Duration per_object = std::chrono::microseconds(10);  // a key of weight w rests w * per_object between decisions
    uint32_t busy_limit = 100;                            // decisions with commands in a row before a key slows down
  };
  struct Counters {
    uint64_t decisions = 0, commands = 0, failures = 0, resends = 0;
  };

  /// Calls controller.setup(view); all of these outlive the Runner. `recorder` may be null.
  Runner(Loop& loop, bus::Commands& commands, View& view, Controller& controller, projection::Recorder* recorder);
  Runner(Loop& loop, bus::Commands& commands, View& view, Controller& controller, projection::Recorder* recorder,
         Options options);
  ~Runner();
  Runner(const Runner&) = delete;
  Runner& operator=(const Runner&) = delete;

  /// The lease is held with this epoch: catch up, then decide every key.
  void lead(std::string lease, uint64_t epoch);
  /// The lease is lost or given up: decide nothing, forget everything; answers that still come are ignored.
  void resign();
  /// Caught up and deciding.
  bool leading() const { return phase_ == Phase::kLeading; }
  /// Called when apigw says that a newer epoch holds the lease, after resign().
  void on_deposed(std::function<void()> callback) { deposed_ = std::move(callback); }

  /// Decide this key soon; no effect while not leading (a new term decides all).
  void enqueue(std::string_view key);

  Controller& controller() { return controller_; }
  size_t queued() const { return queue_.size(); }
  size_t in_flight() const { return in_flight_; }
  const Counters& counters() const { return counters_; }

 private:
  enum class Phase : uint8_t { kFollowing, kCatchingUp, kLeading };
  struct Wait {
    const projection::Cache* cache;
    uint64_t revision;
  };
  struct Trigger {
    const model::Kind* kind;
    std::string key;
    uint64_t revision;
  };
  struct Entry {
    bool queued = false;
    bool dirty = false;   // something changed while it could not be decided
    bool failed = false;  // a command of the running decision failed
    uint32_t busy = 0;    // decisions with commands since the last without
    size_t in_flight = 0;
    std::vector<Wait> waits;
    Memory memory;
    std::vector<Answer> answers;  // of the running decision
    Duration not_before{};
    std::optional<Duration> due;    // in due_
    std::vector<Trigger> triggers;  // what woke it since the last decision, the first few
    std::string cause;              // of the last decision
  };

  void start();
  void changed(const std::string& resource, const projection::Change& change);
  void touch(const std::string& key);
  /// Of the triggers, what somebody else did: to the object that the key names, else the first. "": only echoes.
  static std::string cause_of(const std::string& key, const Entry& entry);
  void schedule(const std::string& key, Entry& entry, Duration at);
  void push(const std::string& key, Entry& entry);
  void wake();
  void turn();
  void run_due();
  void arm();
  void recheck();
  void decide(const std::string& key);
  /// `in_doubt`: sent before, with an unknown outcome.
  void send(const std::string& key, Planned planned, size_t slot, bool in_doubt = false);
  void answered(const std::string& key, const Planned& planned, size_t slot, Result<bus::CommandOutcome> result);
  void settle(const std::string& key, Entry& entry);
  void note(const std::optional<projection::Note>& note, std::string_view what);
  bool covered(const Entry& entry) const;

  Loop& loop_;
  bus::Commands& commands_;
  View& view_;
  Controller& controller_;
  projection::Recorder* recorder_;
  Options options_;
  std::string component_;
  std::string nonce_;  // of this process: command ids of one epoch stay unique over a restart

  Phase phase_ = Phase::kFollowing;
  std::string lease_;
  uint64_t epoch_ = 0;
  uint64_t term_ = 0;  // grows with each lead() and resign(): tells late answers apart
  uint64_t numbered_ = 0;
  std::unique_ptr<projection::CatchUp> catch_up_;
  std::function<void()> deposed_;

  std::unordered_map<std::string, Entry> entries_;
  std::deque<std::string> queue_;
  std::multimap<Duration, std::string> due_;
  std::vector<std::string> waiting_;  // keys whose commands are answered and whose view is behind
  size_t in_flight_ = 0;
  bool woken_ = false;
  std::map<uint64_t, Timer> resends_;
  Timer due_timer_, tick_;
  std::vector<std::string> keys_;  // scratch
  Counters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::controllers
