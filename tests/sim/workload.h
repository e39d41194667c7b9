// The users of a simulated cluster: declare, change and delete Deployments and Services at random, through the bus, and
// repeat each wish until it was acknowledged, as `kubectl apply` in a loop.
#pragma once

#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <string>

#include "libs/bus/command.h"
#include "tests/sim/cluster.h"

namespace gantry::sim {

struct DeploymentWish {
  int replicas = 1;
  std::string image = "demo:1";
  nlohmann::json strategy = nullptr;
};

class Workload {
 public:
  Workload(Cluster& cluster, uint64_t seed);

  /// One random wish now.
  void act();
  /// Every wish is acknowledged.
  bool settled() const;
  /// Acknowledgements count no more (the store lost its tail): say everything again.
  void repeat_all();
  testing::FakeBus& bus() { return *bus_; }

  /// What was declared last, by name, in namespace default.
  std::map<std::string, DeploymentWish> deployments() const;
  std::vector<std::string> services() const;

 private:
  struct Item {
    std::string resource, name;
    std::optional<DeploymentWish> wish;  // nothing: it shall not be there
    uint64_t wished = 1, acknowledged = 0;
    bool exists = false;  // as far as is known
    bool in_flight = false;
    Timer retry;
  };
  void wish(const std::string& resource, const std::string& name, std::optional<DeploymentWish> wish);
  void send(const std::string& key);
  void answered(const std::string& key, uint64_t said, bus::Verb verb, const Result<bus::CommandOutcome>& result);
  nlohmann::json body(const Item& item) const;
  void delete_some_pod();
  int pick(int n) { return static_cast<int>(random_() % static_cast<uint64_t>(n)); }

  Cluster& cluster_;
  std::mt19937_64 random_;
  std::unique_ptr<testing::FakeBus> bus_;
  std::unique_ptr<bus::Commands> commands_;
  std::map<std::string, Item> items_;  // "<resource>/<name>"
};

}  // namespace gantry::sim
