// One resource's part of the relay: its change log, its cursor and the heads of its chains. Loop's thread only.
#pragma once

#include <map>
#include <string>

#include "services/apigw/relay/relay.h"

namespace gantry::apigw {

class RelayStream {
 public:
  /// Starts at once. All references outlive it.
  RelayStream(Loop& loop, state::Store& store, bus::Bus& bus, std::string resource, const RelayConfig& config,
              Relay::Counters& counters);

  /// The last revision of each active chain, and now and then a look whether the store still knows what was published.
  void publish_heads();

 private:
  struct Chain {
    uint64_t head = 0;
    Duration seen{};
  };
  void begin();
  void load_heads();
  void pump();
  void publish(const std::vector<state::LogEntry>& entries);
  Status publish_entry(const state::LogEntry& entry);
  Status publish_event(std::string_view node, const std::string& event);
  void confirm();
  void save_cursor();
  void check_store();
  void trim();
  void rewind(const std::string& why);
  template <typename F>
  auto guard(F f);

  Loop& loop_;
  state::Store& store_;
  bus::Bus& bus_;
  const std::string resource_;
  const RelayConfig& config_;
  Relay::Counters& counters_;
  uint64_t cursor_ = 0;    // confirmed by the bus
  uint64_t position_ = 0;  // published
  uint64_t saved_ = 0;     // of cursor_, in the store
  uint64_t trimmed_ = 0;   // where cursor_ stood at the last trim
  bool started_ = false, reading_ = false, again_ = false, flushing_ = false, saving_ = false;
  int ticks_ = 0;
  std::map<std::string, Chain> chains_;
  std::shared_ptr<void> watch_, connection_;
  Timer retry_, heads_retry_;
  std::shared_ptr<char> token_ = std::make_shared<char>();
};

}  // namespace gantry::apigw
