// The programs of a cluster as the simulation runs them: what each main.cc puts together, over a fake bus and a fake
// store. Destroying one is kill -9.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/events.h"
#include "libs/bus/testing/fake_bus.h"
#include "libs/projection/cache.h"
#include "libs/state/testing/memory_store.h"
#include "services/nodeagent/runtime/hollow_runtime.h"

namespace gantry::sim {

/// What stands outside of every process. Outlives them.
struct World {
  testing::ManualLoop& loop;
  state::testing::MemoryStore& store;
  testing::FakeNetwork& network;
  /// Commands that reached a gateway and change something, leases left out: "<identity> <verb>
  /// <resource>/<subresource>"
  /// -> how many.
  std::map<std::string, uint64_t> commands = {};
};

/// Loop's thread only.
class Process {
 public:
  virtual ~Process() = default;
  virtual testing::FakeBus& bus() = 0;
  /// Cuts it off from the store, or back on; only gateways have a connection.
  virtual void set_store_connected(bool) {}
  /// Everything that it keeps of the cluster's state, and of which chain.
  using Visit = std::function<void(const projection::Cache& cache, const bus::Chain& chain)>;
  virtual void visit_caches(const Visit&) const {}
};

/// The containers of a hollow machine: they outlive the agent.
class Containers final : public nodeagent::HollowRuntime {
 public:
  using HollowRuntime::HollowRuntime;
  /// By the pod's uid.
  const std::map<std::string, nodeagent::RuntimePod>& pods() const { return pods_; }
};

/// A node's machine.
struct Machine {
  std::string node, address;
  std::map<std::string, std::string> capacity;
  std::string pod_cidr = {};
  uint64_t starts = 0;  // of the agent, as the file <root>/epoch counts them
  std::unique_ptr<Containers> containers = {};

  /// Without an agent: nobody listens to what containers do.
  void orphan();
  /// All containers are gone. Only while no agent runs.
  void reboot(Loop& loop);
};

std::unique_ptr<Process> make_gateway(World& world, const std::string& address);
std::unique_ptr<Process> make_controllers(World& world);
std::unique_ptr<Process> make_scheduler(World& world);
std::unique_ptr<Process> make_agent(World& world, Machine& machine);
/// Follows one chain, as an integrator does.
std::unique_ptr<Process> make_observer(World& world, bus::Chain chain);

}  // namespace gantry::sim
