// Which write goes next when more come than the store takes: what keeps the cluster alive first, then everybody in
// turn, and Events about what happened behind real work. Loop's thread only.
//
// Writes wait here, not in the store's connections: there all are served in the order in which they came, and a burst
// of one caller (a ReplicaSet's thousand pods) would stand before everybody else's.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "services/apigw/core/alive.h"

namespace gantry::apigw {

class Admission {
 public:
  struct Options {
    size_t max_running = 1024;  // writes at the store; enough to fill its pipelines
    size_t max_events = 256;    // of these, Events, while nothing else waits
    size_t min_events = 16;     // and while something else does: they are late then, never stopped
    size_t max_waiting = 50'000;
  };
  explicit Admission(Loop& loop) : Admission(loop, Options()) {}
  Admission(Loop& loop, Options options) : loop_(loop), options_(options) {}
  Admission(const Admission&) = delete;
  Admission& operator=(const Admission&) = delete;

  enum class Rank : uint8_t {
    kVital,   // leases, nodes: late, they look like a death
    kNormal,  // in turn by flow
    kEvent,
  };
  /// Runs `begin` later, never inside the call; false when too many wait already. `flow`: callers that share a turn.
  /// Each that was begun must be told to finished() exactly once.
  bool enter(Rank rank, const std::string& flow, std::function<void()> begin);
  void finished(Rank rank);

  size_t waiting() const { return waiting_; }
  size_t running() const { return running_; }

 private:
  using Begin = std::function<void()>;
  void wake();
  void turn();
  bool next(Begin& begin);

  Loop& loop_;
  const Options options_;
  std::deque<Begin> vital_, events_;
  std::map<std::string, std::deque<Begin>> flows_;  // none is empty
  std::string last_flow_;                           // that had its turn
  size_t waiting_ = 0, running_ = 0, running_events_ = 0;
  bool woken_ = false;
  Alive alive_;
};

}  // namespace gantry::apigw
