// One active instance among several: a lease that is held by commands to apigw. Its epoch goes with every command of
// the leader (Command.lease, lease_epoch), so that what a deposed leader still has under way is refused.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "libs/base/loop.h"
#include "libs/bus/command.h"

namespace gantry::service {

struct ElectionOptions {
  std::string lease;             // the Lease's name, in kube-system
  std::string holder;            // names this process: unique, new at each start
  std::chrono::seconds ttl{15};  // the lease is over this long after the last renewal
};

/// Asks for the lease every ttl/3. While held, elected() has been called and lost() not; lost() comes at the latest a
/// tenth of the ttl before another may take the lease, by the monotonic clock and counted from when the last successful
/// renewal was sent. A renewal that brings another epoch (the lease was lost and won in between) is told as lost(),
/// elected(epoch).
///
/// Loop's thread only. `loop` and `commands` outlive it; no callback comes after its end. The lease is not given back
/// by the destructor: resign() first.
class Election {
 public:
  struct Callbacks {
    std::function<void(uint64_t epoch)> elected;
    std::function<void()> lost;
  };

  Election(Loop& loop, bus::Commands& commands, ElectionOptions options, Callbacks callbacks);
  Election(const Election&) = delete;
  Election& operator=(const Election&) = delete;

  /// The epoch held, 0 when not elected.
  uint64_t epoch() const { return epoch_; }
  bool leading() const { return epoch_ != 0; }
  const std::string& lease() const { return options_.lease; }
  /// Who holds it, or why the last attempt failed: for readiness and logs.
  const std::string& last_error() const { return last_error_; }

  /// Stops for good: lost() if it is held, then shortens the lease to a second so that another need not wait. `done`
  /// follows.
  void resign(std::function<void()> done);

 private:
  void ask();
  void answered(Duration sent, Result<bus::CommandOutcome> result);
  void schedule(Duration delay);
  void lose(const char* why);
  bus::Command hold_command(int64_t seconds) const;

  Loop& loop_;
  bus::Commands& commands_;
  const ElectionOptions options_;
  Callbacks callbacks_;
  uint64_t epoch_ = 0;
  bool stopped_ = false;
  std::string last_error_;
  Timer next_, expiry_;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace gantry::service
