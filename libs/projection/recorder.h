// Records core/v1 Events about objects: what `kubectl describe` and `kubectl get events` show. Best effort: Events are
// sent behind real work, repeats become a count, and what does not fit is shed and counted. Loop's thread only; `loop`
// and `commands` outlive it.
#pragma once

#include <deque>
#include <list>
#include <string>
#include <unordered_map>

#include "libs/base/loop.h"
#include "libs/bus/command.h"
#include "libs/model/object.h"

namespace gantry::projection {

/// Something to tell about `about`.
struct Note {
  model::Object about;
  std::string type;    // Normal, Warning
  std::string reason;  // CamelCase, e.g. ScalingReplicaSet
  std::string message;
};

class Recorder {
 public:
  struct Options {
    size_t max_queued = 20'000, max_in_flight = 256, max_remembered = 4'096;
    /// Per object: so many at once, then one each `refill`, as Kubernetes' spam filter.
    uint32_t burst = 25;
    Duration refill = std::chrono::minutes(5);
  };
  /// `component`: e.g. deployment-controller; `instance`: the process, may be empty.
  Recorder(Loop& loop, bus::Commands& commands, std::string component, std::string instance);
  Recorder(Loop& loop, bus::Commands& commands, std::string component, std::string instance, Options options);
  ~Recorder();

  void record(const Note& note) { record(note, component_); }
  /// Under another component's name: one Recorder can serve many controllers.
  void record(const Note& note, std::string_view component);
  uint64_t shed() const { return shed_; }

 private:
  struct Seen {
    std::string ns, name;
    int32_t count = 1;
    std::list<std::string>::iterator age;
  };
  struct Bucket {
    double tokens = 0;
    Duration at{};
  };
  bool allow(std::string_view uid);
  void pump();

  Loop& loop_;
  bus::Commands& commands_;
  std::string component_, instance_;
  Options options_;
  std::unordered_map<std::string, Seen> seen_;  // component, uid, type, reason, message -> the Event that tells it
  std::list<std::string> ages_;                 // oldest first
  std::unordered_map<std::string, Bucket> buckets_;
  std::deque<bus::Command> queue_;
  size_t in_flight_ = 0;
  uint64_t shed_ = 0, numbered_ = 0;
  bool pumping_ = false;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace gantry::projection
