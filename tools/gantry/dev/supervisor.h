// Keeps the components of a dev cluster running. One process, one loop; its children live in sessions of their own and
// outlive it: a supervisor that starts again adopts by pid file what still runs.
//
// A component starts when all that it comes after have been ready once, is probed until it answers, and is started
// again when it dies, at once the first time and with a growing pause when it dies young. A probe that fails later only
// shows in the status.
#pragma once

#include <uv.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "libs/base/uv_loop.h"
#include "tools/gantry/dev/components.h"
#include "tools/gantry/dev/exit_watch.h"

namespace gantry::dev {

class Supervisor {
 public:
  /// `loop` outlives it.
  Supervisor(UvLoop& loop, Paths paths, std::vector<Component> components);
  ~Supervisor();
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;

  /// Adopts what runs, starts the rest.
  void start();
  /// Stops everything, dependents first; then calls back.
  void shutdown(std::function<void()> done);

  // What the control socket asks for; an unknown name is kNotFound.
  std::string status_json() const;
  Status stop(const std::string& name);    // and keep it stopped
  Status resume(const std::string& name);  // after stop()
  Status restart(const std::string& name);
  /// Restarts what runs from another binary or configuration than there is now; their names.
  std::vector<std::string> refresh(const std::vector<Component>& components);

 private:
  enum class State { kWaiting, kStarting, kReady, kUnready, kPausing, kStopping, kStopped };
  struct Child {
    Component component;
    State state = State::kWaiting;
    ProcessId process;
    std::unique_ptr<ExitWatch> exit;
    bool wanted = true, was_ready = false, asking = false;
    int restarts = 0;
    Duration started{}, pause{};
    std::string reason;  // why it is not ready
    Timer next;          // start again, ask again
    Timer kill;          // SIGKILL if SIGTERM does not do
  };
  struct Question;

  static const char* to_string(State state);
  Child* find(const std::string& name);
  void start_eligible();
  void launch(Child& child);
  void watch(Child& child, ProcessId process);
  void ended(Child& child);
  void ask_later(Child& child, Duration delay);
  void ask_now(Child& child);
  void answered(Child& child, const ProcessId& asked, const Status& answer);
  void terminate(Child& child);
  void continue_shutdown();
  void trim_logs();

  UvLoop& loop_;
  Paths paths_;
  std::vector<std::unique_ptr<Child>> children_;  // in order of start; addresses are stable
  std::function<void()> shut_down_;
  Timer logs_;
  std::shared_ptr<bool> living_ = std::make_shared<bool>(true);  // for answers that come after the end
};

}  // namespace gantry::dev
