// The requests of one bus that wait for their reply: one inbox subscription serves them all, the last token of the
// reply subject tells which.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>

#include "libs/base/loop.h"
#include "libs/base/result.h"

namespace gantry::bus {

/// Loop's thread only. Destroying it drops what waits without calling back.
class PendingRequests {
 public:
  using Done = std::function<void(Result<std::string>)>;
  explicit PendingRequests(Loop& loop) : loop_(loop) {}

  /// The token for the reply subject. `done` gets kTimeout after `timeout`.
  std::string add(Duration timeout, Done done);
  /// Calls back and forgets; false when nobody waits for `token` (late, doubled or forged).
  bool complete(std::string_view token, Result<std::string> result);
  void fail_all(const Error& error);
  size_t size() const { return waiting_.size(); }

 private:
  struct Waiting {
    Duration deadline;
    Done done;
  };
  void arm();
  void expire();

  Loop& loop_;
  uint64_t next_ = 1;
  std::unordered_map<uint64_t, Waiting> waiting_;
  std::map<std::pair<Duration, uint64_t>, bool> deadlines_;
  Timer timer_;  // for the earliest deadline
  Duration armed_{};
};

}  // namespace gantry::bus
