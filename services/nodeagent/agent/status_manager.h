// Gets each pod's status to the gateway: the newest only, in order, until it is acknowledged.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "libs/bus/command.h"
#include "services/nodeagent/agent/sequence.h"

namespace gantry::nodeagent {

/// One report of a pod is under way at a time; what is set meanwhile replaces what waits. A report whose outcome is not
/// known is sent again (or what replaced it), with a new number; the gateway drops what comes late. Loop's thread only;
/// `loop`, `commands` and `sequence` outlive it.
class StatusManager {
 public:
  StatusManager(Loop& loop, bus::Commands& commands, Sequence& sequence)
      : loop_(loop), commands_(commands), sequence_(sequence) {}

  /// `pod`: a Pod with identity and status (encode_status), known to the API by `api_uid`. Nothing is sent when it is
  /// what was set before. `because`: what it was last decided on, as "pods/<namespace>/<name>@<revision>".
  void set(const std::string& uid, const std::string& ns, const std::string& name, std::string pod,
           const std::string& api_uid, std::string because = "");
  /// The API lost our word (it shows an older status): send again what was set last.
  void resend(const std::string& uid);
  /// Calls back when the last status set was acknowledged, or can never be (the pod is gone).
  void when_settled(const std::string& uid, std::function<void()> done);
  /// The pod is gone from here and from the API.
  void forget(const std::string& uid) { pods_.erase(uid); }

  struct Counters {
    uint64_t sent = 0, acknowledged = 0, retried = 0, refused = 0;
  };
  const Counters& counters() const { return counters_; }

 private:
  struct Pod {
    std::string ns, name, bytes, api_uid, because;
    bool settled = true, in_flight = false, changed = false;
    int failures = 0;
    Timer retry;
    std::vector<std::function<void()>> waiting;
  };
  void send(const std::string& uid);
  void on_answer(const std::string& uid, const Result<bus::CommandOutcome>& outcome);
  static void settle(Pod& pod);

  Loop& loop_;
  bus::Commands& commands_;
  Sequence& sequence_;
  std::map<std::string, Pod> pods_;
  Counters counters_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent
