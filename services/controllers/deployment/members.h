// A Deployment's ReplicaSets as the plan sees them, and the commands that change them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "libs/model/object.h"
#include "services/controllers/deployment/plan.h"
#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

inline constexpr const char* kRevision = "deployment.kubernetes.io/revision";
inline constexpr const char* kRevisionHistory = "deployment.kubernetes.io/revision-history";
inline constexpr const char* kDesiredReplicas = "deployment.kubernetes.io/desired-replicas";
inline constexpr const char* kMaxReplicas = "deployment.kubernetes.io/max-replicas";

int64_t revision_of(const model::Object& object);  // 0 when absent
std::vector<Member> to_members(const std::vector<model::Object>& sets);
/// The index of the ReplicaSet whose template is the Deployment's; the oldest if there are more.
std::optional<size_t> find_new(const model::Object& deployment, const std::vector<model::Object>& sets);

/// Collects the changes of one decision, one patch a ReplicaSet.
class SetChanges {
 public:
  SetChanges(const model::Object& deployment, const Rollout& rollout, const std::vector<model::Object>& sets)
      : deployment_(deployment), rollout_(rollout), sets_(sets) {}
  /// Size and what it was for; an Event if the size changes.
  void scale(const Scale& scale);
  /// What the new ReplicaSet takes from its Deployment: annotations, the revision (at least `revision`),
  /// minReadySeconds.
  void sync_new(size_t index, int64_t revision);
  bool empty() const { return changes_.empty(); }
  void plan(Decision& decision) const;

 private:
  struct Change {
    std::map<std::string, std::string> annotations;
    std::optional<int32_t> replicas, min_ready;
    std::optional<projection::Note> note;
  };
  const model::Object& deployment_;
  const Rollout& rollout_;
  const std::vector<model::Object>& sets_;
  std::map<size_t, Change> changes_;
};

/// A new ReplicaSet for the Deployment's template.
model::Bytes make_set(const model::Object& deployment, const Rollout& rollout, const std::string& name,
                      const std::string& hash, int32_t replicas, int64_t revision);
/// Removes what revisionHistoryLimit does not keep. `olds`: without the new one.
void clean_history(const model::Object& deployment, std::vector<model::Object> olds, Decision& decision);

}  // namespace gantry::controllers
