// Pods that want a node: those to try next, by priority and age, and those that sleep until something changes. Not
// thread-safe.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "services/scheduler/pod_info.h"

namespace gantry::scheduler {

class Queue {
 public:
  struct Item {
    PodInfo pod;
    std::string told;  // the message of the last failure, already recorded
    uint64_t sequence = 0;
  };

  /// To be tried; a pod that sleeps wakes. Keeps its place if it is there already.
  void add(PodInfo pod);
  void remove(std::string_view key);
  bool contains(std::string_view key) const { return items_.contains(std::string(key)); }

  /// The next to try, out of the active order until sleep(), add() or remove(). Null: none.
  Item* next();
  /// Does not fit now: waits for wake().
  void sleep(const std::string& key);
  /// All that sleep are tried again.
  void wake();

  size_t active() const { return active_.size(); }
  size_t sleeping() const { return sleeping_.size(); }
  void clear();

 private:
  using Order = std::pair<int64_t, uint64_t>;  // -priority, sequence
  static Order order(const Item& item) { return {-int64_t{item.pod.priority}, item.sequence}; }
  std::unordered_map<std::string, Item> items_;
  std::map<Order, std::string> active_;
  std::map<Order, std::string> sleeping_;
  uint64_t sequence_ = 0;
};

}  // namespace gantry::scheduler
