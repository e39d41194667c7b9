// Watches every commit of a run and says what must never be, at no moment: too many pods, overcommitted nodes, a
// revision with two meanings. It reads the store's log directly, not through the gateway.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "libs/model/object.h"
#include "tests/sim/cluster.h"

namespace gantry::sim {

class Monitor {
 public:
  explicit Monitor(Cluster& cluster);

  /// Up to what is committed now, ahead of what loses it.
  void read_all();
  /// The store has lost its tail: look at it anew.
  void store_failed_over();
  /// A hash over all commits so far: equal runs have equal ones.
  uint64_t trace() const { return trace_; }
  uint64_t commits() const { return commits_; }
  /// Commits by resource.
  const std::map<std::string, uint64_t>& counts() const { return counts_; }
  /// What was wrong, each with the moment; bounded.
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  struct Pod {
    std::string uid, replica_set, node;
    bool active = false, occupies = false;
    int64_t cpu_milli = 0;
  };
  struct Replicas {
    std::string name, deployment;
    int64_t now = 0, most = 0;  // asked for
  };
  struct Deployment {
    std::string name;
    int64_t most = 0;  // with surge
  };
  void read(const std::string& resource);
  void apply(const std::string& resource, const model::Object& object, bool gone);
  void check_pods(const std::string& cause);
  void check_replica_sets(const std::string& cause);
  void violated(const std::string& what);

  Cluster& cluster_;
  std::vector<std::shared_ptr<void>> watches_;
  std::map<std::string, uint64_t> position_;
  std::map<std::string, std::map<uint64_t, uint64_t>> meanings_;  // resource -> revision -> hash of its event
  std::map<std::string, Pod> pods_;                               // by key
  std::map<std::string, Replicas> replica_sets_;                  // by uid
  std::map<std::string, Deployment> deployments_;                 // by uid
  uint64_t trace_ = 14695981039346656037ull, commits_ = 0;
  std::map<std::string, uint64_t> counts_;
  std::vector<std::string> violations_;
};

}  // namespace gantry::sim
