// A cluster in memory with some controllers running on it, under a manual clock: what tests of controllers stand on.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "libs/base/testing/manual_loop.h"
#include "libs/projection/testing/fake_cluster.h"
#include "services/controllers/framework/runner.h"
#include "services/controllers/framework/view.h"

namespace gantry::controllers::testing {

class Harness {
 public:
  gantry::testing::ManualLoop loop;
  projection::testing::FakeCluster cluster{loop};
  View view;

  /// Adds the controller and, at the first run(), elects it.
  void start(std::unique_ptr<Controller> controller, Runner::Options options = Runner::Options());
  Runner& runner(size_t i = 0) { return *runners_[i]; }
  /// Connects caches, elects what was started, and lets everything settle without moving time far.
  void run(Duration time = std::chrono::milliseconds(200));
  /// Moves time on.
  void pass(Duration time) { loop.advance(time); }
  /// One decision from what is in the cluster, without a runner.
  Decision decide(Controller& controller, const std::string& key, const Memory& memory = Memory());

  /// As an agent would: every pod with a node (or every pod, when there is no scheduler) becomes Running and Ready.
  void ready_pods(bool only_bound = false);
  std::string now() const;

 private:
  void connect();
  std::vector<std::unique_ptr<Controller>> controllers_;
  std::vector<std::unique_ptr<Runner>> runners_;
  std::set<std::string> connected_;
  size_t elected_ = 0;
};

}  // namespace gantry::controllers::testing
