// What CSI drivers mount for the pods of this node: stage once for the node, publish for each pod, and back.
//
//   mount:    record -> NodeStageVolume -> NodePublishVolume -> fsGroup -> NodeExpandVolume if it grew
//   unmount:  NodeUnpublishVolume -> no longer mounted? -> record gone -> nobody else uses it: NodeUnstageVolume
//
// Every step is repeated safely. What was asked of a driver is on the disk before it is asked (<pod>/csi/<volume>.json,
// <root>/csi/<hash>/volume.json), so that an agent that was killed takes back what it began. Calls about one volume
// come one after another.
#pragma once

#include <deque>
#include <map>
#include <string>

#include "services/nodeagent/render/volumes.h"
#include "services/nodeagent/volume/csi_drivers.h"

namespace gantry::nodeagent {

/// Loop's thread only; everything passed by reference outlives it.
class CsiVolumes {
 public:
  /// Runs `work` elsewhere (the disk blocks), then `done` on the loop.
  using OffLoop = std::function<void(std::function<void()> work, std::function<void()> done)>;
  using Done = std::function<void(Status)>;

  CsiVolumes(Loop& loop, CsiDrivers& drivers, bus::Commands& commands, Paths paths, OffLoop off_loop)
      : loop_(loop), drivers_(drivers), commands_(commands), paths_(std::move(paths)), off_loop_(std::move(off_loop)) {}

  /// Mounts at plan.path for the pod. Errors as kubectl shows them; kUnavailable if the driver is not there (yet).
  void mount(const std::string& pod_uid, const VolumePlan& plan, Done done);
  /// All that was ever mounted for the pod. Must succeed before its directory is removed.
  void unmount(const std::string& pod_uid, Done done);
  struct Usage {
    int64_t capacity_bytes = 0, available_bytes = 0, used_bytes = 0, inodes = 0, inodes_free = 0, inodes_used = 0;
  };
  /// Asks the drivers how full the volumes of claims are; usage() has the answers soon after, by "<namespace>/<claim>".
  void measure();
  const std::map<std::string, Usage>& usage() const { return usage_; }
  /// Unstages what no pod's record names: the agent died between the two.
  void tidy();

 private:
  struct Record;
  struct Mounting;
  using Step = std::function<void(Done)>;
  /// Runs after what was queued before about the same volume.
  void queue(const std::string& key, Step step, Done done);
  void next(const std::string& key);

  void stage(std::shared_ptr<Mounting> m);
  void publish(std::shared_ptr<Mounting> m);
  void own(std::shared_ptr<Mounting> m);
  void expand(std::shared_ptr<Mounting> m);
  void tell_capacity(const std::string& claim, int64_t bytes);
  void measured(const std::string& claim, const std::string& answer);
  void unpublish(const Record& record, Done done);
  void unstage(const Record& record, Done done);
  template <typename F>
  auto guard(F f) {
    return [weak = std::weak_ptr<bool>(alive_), f = std::move(f)](auto&&... args) mutable {
      if (!weak.expired()) f(std::forward<decltype(args)>(args)...);
    };
  }

  Loop& loop_;
  CsiDrivers& drivers_;
  bus::Commands& commands_;
  Paths paths_;
  OffLoop off_loop_;
  std::map<std::string, std::deque<std::function<void()>>> queues_;  // the first of each runs
  struct Published {
    std::string driver, handle, path, staging, claim;
  };
  std::map<std::string, Published> published_;  // by target, of this run of the agent
  std::map<std::string, Usage> usage_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::nodeagent
