// What was heard from nodes, and for how long nothing was. Soft state: it starts empty with each term. Silence counts
// only while this process could have heard: from the start of its term, from a reconnect, and from the end of a stall
// of its own loop. Loop's thread only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "libs/base/loop.h"
#include "libs/bus/bus.h"

namespace gantry::controllers {

class NodeHealth {
 public:
  /// `grace`: how long a node may be silent. The loop outlives this.
  NodeHealth(Loop& loop, Duration grace);

  struct Beat {
    Duration at{};
    uint64_t epoch = 0, sequence = 0;
    bool ready = false;
    std::string reason;
  };
  /// Older (epoch, sequence) than known are dropped.
  void heard(const std::string& node, uint64_t epoch, uint64_t sequence, bool ready, std::string reason);
  void connected(bool connected);
  /// Forgets all and listens anew.
  void restart();
  /// Called with a node that was missing and is heard again.
  void on_return(std::function<void(const std::string& node)> callback) { returned_ = std::move(callback); }

  Duration grace() const { return grace_; }
  /// Nothing can be said of any node.
  bool deaf() const { return !connected_; }
  /// Time since the node was heard, or since one began to listen, whatever is later.
  Duration silence(const std::string& node) const;
  bool missing(const std::string& node) const { return !deaf() && silence(node) > grace_; }
  /// The last beat in this term, if it is within the grace.
  const Beat* fresh(const std::string& node) const;
  Duration now() const { return loop_.now(); }

 private:
  Loop& loop_;
  Duration grace_;
  bool connected_ = true;
  Duration since_;
  Duration last_tick_;
  std::unordered_map<std::string, Beat> beats_;
  std::function<void(const std::string&)> returned_;
  Timer tick_;
};

/// Feeds `health` with gantry.node.<node>.up.heartbeat and with the state of the connection, until destroyed.
class HeartbeatListener {
 public:
  HeartbeatListener(bus::Bus& bus, NodeHealth& health);

 private:
  std::unique_ptr<bus::Subscription> subscription_;
  std::shared_ptr<void> connection_;
};

}  // namespace gantry::controllers
