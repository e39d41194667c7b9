// Metrics that programs push on the bus (docs/integrators.md): the last value of each series, until it is stale. Soft
// state, the same at everybody who listens.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>

#include "libs/base/loop.h"
#include "libs/bus/bus.h"
#include "schemas/api/meta_v1_generated.h"

namespace gantry::usage {

/// One series' last value. What it says of an object: "" and "" if it is of nothing in the cluster.
struct Sample {
  int64_t milli = 0;
  WallMicros time = 0;  // of this process' clock, when it was heard
  Duration until{};     // then it is stale
  std::string kind, object;
  std::map<std::string, std::string> labels;
  std::string encoded;  // an api::meta_v1::ObjectMeta with the labels: what selectors read

  const flatbuffers::Vector<flatbuffers::Offset<api::meta_v1::StringEntry>>* label_table() const;
};

/// Loop's thread only.
class MetricBoard {
 public:
  struct Limits {
    size_t series = 100'000, of_namespace = 10'000;
    Duration keep = std::chrono::seconds(60), keep_most = std::chrono::hours(1);
    Duration tell_each = std::chrono::milliseconds(100);  // changes that come faster are told together
  };
  MetricBoard(Loop& loop, bus::Bus& bus) : MetricBoard(loop, bus, Limits{}) {}
  MetricBoard(Loop& loop, bus::Bus& bus, Limits limits);

  /// What this process measured itself. Namespace "" is nobody's: nothing on the bus gets there.
  void put(const std::string& ns, const std::string& name, Sample sample);
  void for_each(std::string_view ns, std::string_view name, const std::function<void(const Sample&)>& visit) const;
  /// Called soon after a value of the metric became another.
  void on_change(std::function<void(const std::string& ns, const std::string& name)> changed) {
    changed_ = std::move(changed);
  }

  struct Counters {
    uint64_t heard = 0, refused = 0, shed = 0;  // values; messages that say nothing; series beyond the limits
  };
  const Counters& counters() const { return counters_; }
  size_t series() const { return series_; }

 private:
  using Metric = std::map<std::string, Sample>;  // by the series' identity
  struct Namespace {
    std::map<std::string, Metric, std::less<>> metrics;
    size_t series = 0;
  };
  void hear(const bus::Message& message);
  void tell();
  void sweep();

  Loop& loop_;
  Limits limits_;
  std::map<std::string, Namespace, std::less<>> namespaces_;
  size_t series_ = 0;
  Counters counters_;
  std::function<void(const std::string&, const std::string&)> changed_;
  std::set<std::pair<std::string, std::string>> dirty_;
  Duration told_ = Duration::min() / 2;
  Timer teller_, sweeper_;
  std::unique_ptr<bus::Subscription> subscription_;
};

}  // namespace gantry::usage
