// Keeps as many pods of a ReplicaSet or a ReplicationController as it wants: adopts and releases by selector, creates
// what is missing, deletes what is too many in Kubernetes' order, and reports the counts as status.
#pragma once

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

/// Either kind: they differ in names and in how the selector is written.
class ReplicaSetController final : public Controller {
 public:
  enum class Of : uint8_t { kReplicaSet, kReplicationController };
  explicit ReplicaSetController(Of of = Of::kReplicaSet)
      : resource_(of == Of::kReplicaSet ? "replicasets" : "replicationcontrollers"),
        kind_(of == Of::kReplicaSet ? "ReplicaSet" : "ReplicationController"),
        name_(of == Of::kReplicaSet ? "replicaset" : "replicationcontroller") {}

  /// As many creates or deletes go out in one decision.
  static constexpr int32_t kBurst = 2000;

  std::string_view name() const override { return name_; }
  void setup(View& view) override;
  std::vector<std::string> watches() const override { return {resource_, "pods"}; }
  void keys_for(const View& view, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override;
  Decision decide(const View& view, const std::string& key, WallMicros now, const Memory& memory) const override;

 private:
  std::string resource_, kind_, name_;
};

}  // namespace gantry::controllers
