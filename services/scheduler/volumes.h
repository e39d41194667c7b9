// Where a pod's claims let it run. A claim that is bound: where its volume can be reached. One that waits for its first
// consumer: where a volume can be found or made; the node that is chosen is written into the claim, and the pod is
// bound once the claim is. Any other claim without a volume: nowhere yet.
#pragma once

#include <string>
#include <vector>

#include "libs/projection/cache.h"
#include "services/scheduler/cluster.h"
#include "services/scheduler/pod_info.h"

namespace gantry::scheduler {

/// Loop's thread only; the caches outlive it.
class Volumes {
 public:
  static constexpr const char* kSelectedNode = "volume.kubernetes.io/selected-node";

  Volumes(const projection::Cache& claims, const projection::Cache& volumes, const projection::Cache& classes,
          const projection::Cache& csi_nodes, const projection::Cache& pods)
      : claims_(claims), volumes_(volumes), classes_(classes), csi_nodes_(csi_nodes), pods_(pods) {}

  struct Needs {
    std::string refused;                 // why the pod fits nowhere; empty: look at the nodes
    std::vector<model::Object> bound;    // PersistentVolumes
    std::vector<model::Object> waiting;  // claims that wait for a node
    bool stay = true;                    // with the node that was chosen before: a volume may be on its way there
    bool any() const { return !bound.empty() || !waiting.empty(); }
  };
  Needs needs(const PodInfo& pod) const;
  /// Null if the node will do, else why not.
  const char* refuses(const Needs& needs, const NodeInfo& node) const;

 private:
  /// Another pod on a node has it.
  bool in_use(const model::Object& claim, const PodInfo& by_other_than) const;
  bool can_serve(const model::Object& claim, const NodeInfo& node) const;

  const projection::Cache &claims_, &volumes_, &classes_, &csi_nodes_, &pods_;
};

}  // namespace gantry::scheduler
