// Keeps the node from running out of memory, disk and processes: shows pressure, removes images that nobody uses, lets
// pods go that take too much.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "services/nodeagent/agent/agent.h"
#include "services/nodeagent/image/garbage.h"
#include "services/nodeagent/resource/cgroups.h"
#include "services/nodeagent/resource/eviction.h"

namespace gantry::nodeagent {

struct HousekeeperOptions {
  EvictionOptions eviction;
  ImageGcOptions images;
  Duration period = std::chrono::seconds(10);       // between looks at the signals
  Duration image_period = std::chrono::minutes(1);  // between looks at the list of images
  /// What the pods' own cgroup uses counts against the capacity; without, what the whole machine has left.
  bool part_of_machine = false;
  int64_t memory_capacity = 0;
};

/// What is left of `capacity` bytes, and of the machine's disk and processes. Blocks on the disk.
Signals read_signals(const HousekeeperOptions& options, const Cgroups& cgroups, const std::string& parent,
                     const std::string& root, const std::string& images);

/// Loop's thread only; everything passed by reference outlives it.
class Housekeeper {
 public:
  struct Callbacks {
    /// The node's conditions as they are now; called when they change.
    std::function<void(bool memory, bool disk, bool pid)> pressure;
    /// Called when the list has changed.
    std::function<void(const std::vector<Image>&)> images;
    /// An Event about a pod that goes.
    std::function<void(const model::Object& pod, const std::string& reason, const std::string& message)> record;
    /// Instead of read_signals(), for tests.
    std::function<Signals()> signals = {};
  };
  Housekeeper(Loop& loop, Executor& executor, Runtime& runtime, Agent& agent, HousekeeperOptions options,
              Callbacks callbacks);

  struct Counters {
    uint64_t evicted = 0, images_removed = 0;
  };
  const Counters& counters() const { return counters_; }
  bool memory_pressure() const { return pressure_[0]; }

 private:
  void look();
  void on_signals(const Signals& signals);
  bool victim_is_going() const;
  void share_processors();
  void weigh(const Signals& signals, const std::vector<Runtime::ContainerUsage>& usage,
             const std::vector<Runtime::PodUsage>& pods);
  void conclude(const Signals& signals, std::vector<PodUse> pods);
  void check_limits(const std::vector<PodUse>& pods, const std::map<std::string, int64_t>& volumes);
  void evict(const std::string& uid, const std::string& message, int64_t grace_seconds);
  void list_images(uint64_t free_bytes);
  void collect_images();
  void tell_pressure(const EvictionDecision& decision);
  template <typename F>
  auto guard(F f) {
    return [weak = std::weak_ptr<bool>(alive_), f = std::move(f)](auto&&... args) mutable {
      if (!weak.expired()) f(std::forward<decltype(args)>(args)...);
    };
  }

  Loop& loop_;
  Executor& executor_;
  Runtime& runtime_;
  Agent& agent_;
  HousekeeperOptions options_;
  Callbacks callbacks_;
  EvictionMemory memory_;
  ImageAges ages_;
  Counters counters_;
  std::array<bool, 3> pressure_{};
  std::vector<std::string> told_images_;
  std::string images_at_;  // where images lie
  std::string evicting_;   // uid of the pod that had to go last
  int64_t burstable_shares_ = 0;
  bool looking_ = false, collecting_ = false;
  bool counted_victim_ = false;  // what the last victim holds is in the signals being looked at
  WallMicros reclaimed_at_ = 0, evicted_at_ = 0;
  Timer look_, images_, first_images_, gc_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent
