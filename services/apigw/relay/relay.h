// From the change logs to the bus: publishes every log entry as an event, in order, and the heads of active chains each
// second, so that a lost tail is noticed.
//
// Any number of gateways may run one; the lease "apigw/relay" in the store makes one of them active. It starts where
// the persisted cursors stand, and a cursor moves only after the bus has confirmed (flush) what came before it: after a
// crash events are doubled, never missed. Subscribers drop doubles by their chains. Loop's thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "libs/base/loop.h"
#include "libs/bus/bus.h"
#include "libs/state/store.h"

namespace gantry::apigw {

struct RelayConfig {
  std::string holder;                                 // this gateway, e.g. a random id
  Duration lease = std::chrono::seconds(5);           // another takes over this long after the active one has died
  Duration attempt = std::chrono::milliseconds(200);  // how often one that is not active tries to be
  Duration active = std::chrono::seconds(60);         // a chain without events for so long gets no heads any more
  uint64_t keep =
      20'000;  // entries of each change log that stay for replays; older ones are trimmed once they were published
  std::string stream = "GANTRY_EVENTS";  // JetStream's passive capture; empty: none is made
};

class RelayStream;

class Relay {
 public:
  Relay(Loop& loop, state::Store& store, bus::Bus& bus, RelayConfig config);
  ~Relay();

  bool active() const { return active_; }
  /// Stops and gives the lease back, so that another takes over at once.
  void resign(std::function<void()> done);
  struct Counters {
    uint64_t events = 0, heads = 0, rewinds = 0, takeovers = 0;
  };
  const Counters& counters() const { return counters_; }

 private:
  void renew();
  void take_over();
  void step_down(const std::string& why);
  void capture();

  Loop& loop_;
  state::Store& store_;
  bus::Bus& bus_;
  const RelayConfig config_;
  bool active_ = false, resigned_ = false;
  Duration held_at_{};
  Counters counters_;
  std::vector<std::unique_ptr<RelayStream>> streams_;
  Timer renew_, retry_, heads_;
  std::shared_ptr<char> token_ = std::make_shared<char>();
};

}  // namespace gantry::apigw
