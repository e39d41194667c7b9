// What happens to a Deployment's pods and when, read from the events that pass on the bus. Times are those of the
// commits (the gateway's clock), so that neither the bus nor the reader adds to them.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "schemas/bus_generated.h"

namespace gantry::load {

/// Microseconds since 1970; 0: has not happened.
struct PodTimes {
  std::string owner;  // uid of the ReplicaSet
  int64_t created = 0, bound = 0, running = 0, ready = 0;
  bool hollow = false, deleted = false;
};

struct SetTimes {
  std::string owner, name;  // owner: uid of the Deployment
  int64_t created = 0;
};

/// One thread.
class Phases {
 public:
  /// A verified event of any resource.
  void on_event(const bus::Event& event);

  size_t created() const { return created_; }
  size_t bound() const { return bound_; }
  size_t running() const { return running_; }
  uint64_t events() const { return events_; }
  int64_t first_event() const { return first_event_; }
  int64_t last_event() const { return last_event_; }
  /// The phases as lines of a Markdown table, and pods a second through each.
  std::string report() const;

 private:
  void on_pod(const bus::Event& event);

  std::map<std::string, int64_t> deployments_;  // uid -> created
  std::map<std::string, SetTimes> sets_;        // by uid
  std::map<std::string, PodTimes> pods_;        // by uid
  size_t created_ = 0, bound_ = 0, running_ = 0;
  uint64_t events_ = 0;
  int64_t first_event_ = 0, last_event_ = 0;
};

}  // namespace gantry::load
