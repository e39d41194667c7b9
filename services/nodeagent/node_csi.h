// CSI on this node, put together: drivers from the registry's directory, their volumes, and what the control plane asks
// of them over the bus (gantry.node.<node>.down.csi).
#pragma once

#include <memory>
#include <string>

#include "libs/base/uv_loop.h"
#include "libs/bus/bus.h"
#include "services/nodeagent/agent/agent.h"
#include "services/nodeagent/volume/csi_volumes.h"

namespace gantry::nodeagent {

/// Loop's thread only; everything passed by reference outlives it.
class NodeCsi {
 public:
  /// Null in a build without gRPC. kInternal when the registry cannot be made or watched.
  static Result<std::unique_ptr<NodeCsi>> make(UvLoop& loop, bus::Bus& bus, bus::Commands& commands, Executor& executor,
                                               const std::string& node, const Paths& paths);
  ~NodeCsi();

  /// Before agent.start().
  void attach(Agent& agent);
  const CsiDrivers& drivers() const { return drivers_; }
  const CsiVolumes& volumes() const { return volumes_; }

 private:
  NodeCsi(UvLoop& loop, bus::Bus& bus, bus::Commands& commands, Executor& executor, const std::string& node,
          const Paths& paths, std::unique_ptr<CsiTransport> transport);
  Status watch(const std::string& directory);

  UvLoop& loop_;
  std::unique_ptr<CsiTransport> transport_;
  CsiDrivers drivers_;
  CsiVolumes volumes_;
  std::unique_ptr<bus::Subscription> subscription_;
  Timer measure_;
  uv_fs_event_t* watcher_ = nullptr;
};

}  // namespace gantry::nodeagent
