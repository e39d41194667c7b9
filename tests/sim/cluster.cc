#include "tests/sim/cluster.h"

#include <fmt/format.h>

#include "libs/base/entropy.h"

namespace gantry::sim {

Cluster::Cluster(uint64_t seed, Size size) : network(loop, seed) {
  set_random_source([random = std::mt19937_64(seed)](uint8_t* out, size_t n) mutable {
    for (size_t i = 0; i < n; ++i) out[i] = static_cast<uint8_t>(random());
  });
  if (size.replica_lag > 0) store.set_replica_lag(size.replica_lag);
  for (int i = 0; i < size.gateways; ++i) {
    add(fmt::format("gateway-{}", i),
        [this, address = fmt::format("198.51.100.{}:6443", i + 1)] { return make_gateway(world_, address); });
  }
  for (int i = 0; i < size.controllers; ++i) {
    add(fmt::format("controllers-{}", i), [this] { return make_controllers(world_); });
  }
  for (int i = 0; i < size.schedulers; ++i) {
    add(fmt::format("scheduler-{}", i), [this] { return make_scheduler(world_); });
  }
  for (int i = 0; i < size.nodes; ++i) {
    // The first is small: it gets full.
    std::string node = fmt::format("n{}", i);
    Machine& machine = machines_[node];
    machine = {.node = node,
               .address = fmt::format("192.0.2.{}", i + 1),
               .capacity = {{"cpu", i == 0 ? "500m" : "2"}, {"memory", "4Gi"}, {"pods", i == 1 ? "6" : "30"}}};
    machine.reboot(loop);
    add("node-" + node, [this, &machine] { return make_agent(world_, machine); });
  }
  const bus::Chain chains[] = {{"pods", "", ""},        {"pods", "n1", ""},      {"pods", "_", ""},
                               {"pods", "", "default"}, {"deployments", "", ""}, {"events", "", "default"}};
  for (size_t i = 0; i < std::size(chains); ++i) {
    add(fmt::format("observer-{}", i), [this, chain = chains[i]] { return make_observer(world_, chain); });
  }
}

Cluster::~Cluster() {
  for (auto it = order_.rbegin(); it != order_.rend(); ++it) slots_.erase(*it);
  set_random_source(nullptr);
}

void Cluster::add(const std::string& name, std::function<std::unique_ptr<Process>()> make) {
  order_.push_back(name);
  slots_[name].make = std::move(make);
  start(name);
}

std::vector<std::string> Cluster::names() const { return order_; }

Process* Cluster::find(const std::string& name) { return slots_.at(name).process.get(); }

void Cluster::crash(const std::string& name, Duration downtime) {
  Slot& slot = slots_.at(name);
  slot.process.reset();
  slot.restart = loop.after(downtime, [this, name] { start(name); });
}

void Cluster::reboot(const std::string& name, Duration downtime) {
  crash(name, downtime);
  machines_.at(name.substr(std::string_view("node-").size())).reboot(loop);
}

void Cluster::start(const std::string& name) {
  Slot& slot = slots_.at(name);
  slot.restart.reset();
  if (slot.process == nullptr) slot.process = slot.make();
}

void Cluster::heal() {
  for (const auto& name : order_) {
    start(name);
    find(name)->bus().set_connected(true);
    find(name)->set_store_connected(true);
  }
}

}  // namespace gantry::sim
