// The decision at work: one run over one pod. Internal to pod/: pod_machine.cc keeps a pod running, pod_ending.cc ends
// it.
#pragma once

#include <string>

#include "services/nodeagent/pod/pod_view.h"

namespace gantry::nodeagent {

class PodMachine {
 public:
  PodMachine(const PodInput& input, PodMemory& memory) : in_(input), memory_(memory) {}
  Decision run();

 private:
  static constexpr int64_t kSecond = 1'000'000;

  void remember();
  void settle_terminal();

  void keep_running();
  void replace_sandbox();
  void keep(const ContainerView& c);
  void keep_ephemeral(const ContainerView& c);
  void keep_healthy(const ContainerView& c);
  /// No failure to start it is being waited out.
  bool launch_due(const ContainerView& c);
  void launch(const ContainerView& c);
  bool crash_over(const ContainerView& c);
  void tidy();

  void wind_down(bool deleting);
  /// A step towards its end: the hook, then, when it is its turn, the stop. The deadline holds whatever the hook does.
  void end_container(const Container& c, int64_t grace, const std::string& why, bool turn = true);
  void stop_sandbox(const Sandbox& sandbox);
  void remove_sandbox(const Sandbox& sandbox);
  void remove_container(const Container& c);

  void wake(WallMicros at) { d_.requeue_at = d_.requeue_at ? std::min(*d_.requeue_at, at) : at; }
  void note(bool warning, std::string reason, std::string message, std::string container) {
    d_.notes.push_back({warning, std::move(reason), std::move(message), std::move(container)});
  }
  bool busy(const std::string& key) const { return memory_.in_flight.count(key) != 0; }
  bool busy_with(std::string_view prefix) const;
  /// Waits out a failure; true when it may be tried (again).
  bool may_try(const std::optional<Failure>& failure);
  bool may_stop(const std::string& id);
  Action& act(Action::Kind kind, std::string key);

  const PodInput& in_;
  PodMemory& memory_;
  PodView view_;
  Decision d_;
};

}  // namespace gantry::nodeagent
