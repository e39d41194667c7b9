// A whole cluster in one process under simulated time: gateways, controllers, scheduler, agents on hollow machines and
// observers, on a bus and a store in memory. Everything random comes from the seed.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/testing/fake_bus.h"
#include "libs/state/testing/memory_store.h"
#include "tests/sim/process.h"

namespace gantry::sim {

struct Size {
  int gateways = 2, controllers = 2, schedulers = 2, nodes = 4;
  /// Writes that a failover of the store loses; 0: none, whatever fails.
  size_t replica_lag = 0;
};

/// One at a time in a program: while it lives, the process' random numbers come from its seed. Starts everything.
class Cluster {
 public:
  Cluster(uint64_t seed, Size size);
  ~Cluster();
  Cluster(const Cluster&) = delete;
  Cluster& operator=(const Cluster&) = delete;

  /// "gateway-0", "controllers-1", "scheduler-0", "node-n0", "observer-2", ...
  std::vector<std::string> names() const;
  /// Null while it is down.
  Process* find(const std::string& name);
  /// Dies now; starts again after `downtime`, unless start() comes first.
  void crash(const std::string& name, Duration downtime);
  /// Crash of an agent together with its machine: its containers are gone.
  void reboot(const std::string& name, Duration downtime);
  void start(const std::string& name);
  /// Everything runs, everybody is connected.
  void heal();

  /// By node.
  const std::map<std::string, Machine>& machines() const { return machines_; }
  const std::map<std::string, uint64_t>& commands() const { return world_.commands; }

  testing::ManualLoop loop;
  state::testing::MemoryStore store{loop};
  testing::FakeNetwork network;

 private:
  struct Slot {
    std::function<std::unique_ptr<Process>()> make;
    std::unique_ptr<Process> process;
    Timer restart;
  };
  void add(const std::string& name, std::function<std::unique_ptr<Process>()> make);

  World world_{loop, store, network};
  std::map<std::string, Machine> machines_;
  std::vector<std::string> order_;
  std::map<std::string, Slot> slots_;
};

}  // namespace gantry::sim
