// One decision about a StatefulSet whose history is settled.
#pragma once

#include <map>
#include <vector>

#include "services/controllers/framework/controller.h"
#include "services/controllers/framework/revisions.h"
#include "services/controllers/statefulset/members.h"

namespace gantry::controllers {

class StatefulSetSync {
 public:
  StatefulSetSync(const View& view, model::Object set, History history, std::vector<Replica> replicas,
                  Decision& decision);
  void run();

 private:
  /// Makes, replaces and mends the pods that should be there. False: something must come first.
  bool keep();
  bool keep_one(int ordinal, const Replica* replica);
  bool create_one(int ordinal);
  bool create_claims(int ordinal);
  void mend(const Replica& replica);
  /// Takes away those beyond the range, the highest first. False as in keep().
  bool condemn();
  void roll();
  void remove_pod(const Replica& replica);
  void wait_for(const Replica& replica);
  void report();
  bool mend_claims();
  int32_t max_unavailable() const;

  const View& view_;
  const model::Object set_;
  const api::apps_v1::StatefulSetSpec& spec_;
  const History history_;
  Decision& decision_;
  const int start_, count_;
  const bool ordered_, rolling_, deleting_;
  int partition_ = 0;
  model::Object current_;           // the revision that the last complete rollout left
  std::map<int, Replica> wanted_;   // those that exist in the range
  std::vector<Replica> condemned_;  // the highest first
  std::vector<Replica> all_;
};

}  // namespace gantry::controllers
