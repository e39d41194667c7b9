// The history of a pod template as ControllerRevisions: what StatefulSets and DaemonSets roll between, and what
// `kubectl rollout history` and `undo` read. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "services/controllers/framework/controller.h"

namespace gantry::controllers {

inline constexpr const char* kRevisionHash = "controller-revision-hash";

struct HistoryOptions {
  /// The label of a revision that holds its hash.
  const char* hash_label = "controller.kubernetes.io/hash";
};

struct History {
  std::vector<model::Object> revisions;  // the owner's, oldest first
  model::Object update;                  // of the template as it is now; empty: it comes with the next decision
  int32_t collisions = 0;

  const model::Object* named(std::string_view name) const;
};

/// The owner's history with its newest revision; adds the commands that adopt, make or renumber revisions to
/// `decision`, which is then all that should be done. `owner` has spec.selector and spec.template.
History read_history(const View& view, const model::Object& owner, int32_t collisions, const HistoryOptions& options,
                     Decision& decision);

/// Deletes the oldest beyond `limit` of those that are not in `live` (names).
void trim_history(const History& history, const std::vector<std::string>& live, int32_t limit, Decision& decision);

int64_t revision_number(const model::Object& revision);
/// The hash that its name ends with.
std::string revision_hash(const model::Object& revision, const HistoryOptions& options);
/// The pod template of a revision, as a buffer of api::core_v1::PodTemplateSpec; empty if it cannot be read.
model::Bytes revision_template(const model::Object& revision);

}  // namespace gantry::controllers
