// One decision about a DaemonSet whose history is settled.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "services/controllers/daemonset/members.h"
#include "services/controllers/framework/controller.h"
#include "services/controllers/framework/revisions.h"

namespace gantry::controllers {

struct Daemon {
  model::Object object;
  bool updated = false, terminating = false, failed = false, succeeded = false;
  bool ready = false, available = false;
  int64_t created = 0, available_at = 0;  // unix seconds
};

/// How many pods more than nodes there may be during a rollout.
int32_t surge_of(const api::apps_v1::DaemonSetSpec& spec, int32_t desired);

class DaemonSetSync {
 public:
  DaemonSetSync(const View& view, model::Object set, History history, const std::vector<model::Object>& pods,
                int64_t now, const Memory& memory, Decision& decision);
  void run();

 private:
  /// Makes what is missing and takes away what does not belong. False: there was something to do.
  bool keep();
  void keep_node(const std::string& node, const Place& place, std::vector<std::string>& missing);
  void surplus(std::vector<const Daemon*> running);
  void roll();
  void roll_in_place(int32_t max_unavailable);
  void roll_surging(int32_t max_surge);
  void create_on(const std::string& node);
  void remove_pod(const Daemon& daemon);
  void end_pod(const Daemon& daemon, const std::string& node);
  void report();

  const model::Object set_;
  const api::apps_v1::DaemonSetSpec& spec_;
  const History history_;
  const std::string hash_;
  const int64_t now_;
  const Memory& memory_;
  Decision& decision_;
  bool rolling_ = true, surges_ = false;
  std::map<std::string, Place> places_;                 // of every node
  std::map<std::string, std::vector<Daemon>> on_node_;  // the oldest first
};

}  // namespace gantry::controllers
