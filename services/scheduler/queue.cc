#include "services/scheduler/queue.h"

namespace gantry::scheduler {

void Queue::add(PodInfo pod) {
  std::string key = pod.key;
  auto [it, fresh] = items_.try_emplace(key);
  Item& item = it->second;
  if (fresh) {
    item.sequence = ++sequence_;
  } else {
    active_.erase(order(item));
    sleeping_.erase(order(item));
  }
  item.pod = std::move(pod);
  active_[order(item)] = std::move(key);
}

void Queue::remove(std::string_view key) {
  auto it = items_.find(std::string(key));
  if (it == items_.end()) return;
  active_.erase(order(it->second));
  sleeping_.erase(order(it->second));
  items_.erase(it);
}

Queue::Item* Queue::next() {
  if (active_.empty()) return nullptr;
  auto first = active_.begin();
  Item* item = &items_.at(first->second);
  active_.erase(first);
  return item;
}

void Queue::sleep(const std::string& key) {
  auto it = items_.find(key);
  if (it == items_.end()) return;
  active_.erase(order(it->second));
  sleeping_[order(it->second)] = key;
}

void Queue::wake() {
  active_.merge(sleeping_);
  sleeping_.clear();
}

void Queue::clear() {
  items_.clear();
  active_.clear();
  sleeping_.clear();
}

}  // namespace gantry::scheduler
