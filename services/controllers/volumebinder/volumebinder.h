// Gives claims their PersistentVolumes, makes volumes where there are none, and reclaims what no claim holds.
//
//   claim Pending --(a volume points to it, or the best that fits)--> volume's claimRef --> claim's volumeName -->
//   Bound
//        '--(class with a CSI driver)--> CreateVolume on a node --> PersistentVolume with claimRef --^
//   claim gone --> volume Released --(Delete)--> DeleteVolume --> gone
//
// The volume's claimRef is what decides: it is written with the volume's revision as a guard, and only then the claim
// is. A class that waits for its first consumer is bound once the scheduler has written the node into the claim. That a
// claim is gone is asked of apigw, not read from the view, each time before anything is deleted. Calls to drivers go to
// a node that has the driver (command nodes/<node>/csi); each may be repeated, so nothing of them is remembered.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

/// Keys: "claim:<namespace>/<name>" and "volume:<name>".
class VolumeBinder final : public Controller {
 public:
  std::string_view name() const override { return "persistentvolume-binder"; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override {
    return {"persistentvolumeclaims", "persistentvolumes", "storageclasses", "csinodes"};
  }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;
};

// The two halves of decide(): claims.cc, volumes.cc.
Decision decide_claim(const View& view, const model::Object& claim, WallMicros now, const Memory& memory);
Decision decide_volume(const View& view, const model::Object& volume, WallMicros now, const Memory& memory);

/// Indexes.
inline constexpr const char* kByClaim = "claim";        // persistentvolumes: "<namespace>/<name>" of the claimRef
inline constexpr const char* kUnclaimed = "unclaimed";  // persistentvolumes without a claimRef: the class
inline constexpr const char* kPending = "pending";      // persistentvolumeclaims without a volume: the class

}  // namespace gantry::controllers
