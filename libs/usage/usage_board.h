// What nodes and containers use now, from what the node agents say on the bus: soft state, the same at every gateway.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "libs/base/loop.h"
#include "libs/bus/bus.h"

namespace gantry::usage {

struct Usage {
  uint64_t cpu_nanocores = 0;       // the mean over the window
  uint64_t memory_working_set = 0;  // bytes
};

struct Measured {
  WallMicros time = 0;  // of the node's clock
  Duration window{};
};

struct NodeMeasured : Measured {
  Usage usage;
};

struct PodMeasured : Measured {
  std::string node;  // who said it
  std::vector<std::pair<std::string, Usage>> containers;
};

/// Hears node.Stats of every node. A rate needs two reports: a container is known from its second on. What a node no
/// longer reports, and all of a node that is silent for `patience`, is forgotten. Loop's thread only.
class UsageBoard {
 public:
  UsageBoard(Loop& loop, bus::Bus& bus, Duration window = std::chrono::seconds(15),
             Duration patience = std::chrono::seconds(60));

  /// nullopt: not known. A pod by its uid, as a name may stand for another one by now.
  std::optional<NodeMeasured> node(std::string_view name) const;
  std::optional<PodMeasured> pod(std::string_view uid) const;

 private:
  struct Sample {
    WallMicros time;
    uint64_t cpu_nanos;
  };
  struct Series {
    std::deque<Sample> samples;
    uint64_t memory = 0;
    void add(WallMicros time, uint64_t cpu_nanos, uint64_t memory_bytes, Duration window);
    bool known() const { return samples.size() > 1; }
    Usage usage() const;
    Measured measured() const;
  };
  struct Pod {
    std::string node;
    std::map<std::string, Series, std::less<>> containers;
  };
  struct Node {
    Series series;
    Duration heard{};
    std::vector<std::string> pods;  // uids
  };
  void hear(const bus::Message& message);
  void forget(const Node& node, const std::string& name, const std::vector<std::string>& keep);
  void sweep();

  Loop& loop_;
  Duration window_, patience_;
  std::map<std::string, Node, std::less<>> nodes_;
  std::unordered_map<std::string, Pod> pods_;  // by uid
  std::unique_ptr<bus::Subscription> subscription_;
  Timer sweeper_;
};

}  // namespace gantry::usage
