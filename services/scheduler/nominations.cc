#include "services/scheduler/nominations.h"

#include <algorithm>

#include "libs/model/workload.h"

namespace gantry::scheduler {

void Nominations::add(const PodInfo& pod, const std::string& node, std::set<std::string> victims) {
  cluster_.set_pod(pod, node);
  pods_.insert_or_assign(pod.key, Nominated{node, pod.priority, std::move(victims)});
}

void Nominations::drop(const std::string& key) {
  if (pods_.erase(key) != 0) cluster_.remove_pod(key);
}

void Nominations::clear() {
  for (const auto& [key, nominated] : std::exchange(pods_, {})) cluster_.remove_pod(key);
}

std::string_view Nominations::node_of(const std::string& key) const {
  const auto it = pods_.find(key);
  return it == pods_.end() ? std::string_view() : std::string_view(it->second.node);
}

bool Nominations::waits(const std::string& key) const {
  const auto it = pods_.find(key);
  if (it == pods_.end()) return false;
  const Nominated& mine = it->second;
  if (std::any_of(mine.victims.begin(), mine.victims.end(),
                  [&](const std::string& victim) { return cluster_.node_of(victim) == mine.node; }))
    return true;
  const auto there = cluster_.pods_below(mine.priority, mine.node);
  return std::any_of(there.begin(), there.end(),
                     [](const PodInfo* pod) { return model::is_deleting(pod->object.meta()); });
}

void Nominations::forget_victims(const std::string& key) {
  if (const auto it = pods_.find(key); it != pods_.end()) it->second.victims.clear();
}

std::vector<std::string> Nominations::below(std::string_view node, int32_t priority) const {
  std::vector<std::string> out;
  for (const auto& [key, nominated] : pods_) {
    if (nominated.node == node && nominated.priority < priority) out.push_back(key);
  }
  std::sort(out.begin(), out.end());
  return out;
}

Nominations::View::View(const Nominations& all, const PodInfo& pod) : cluster_(all.cluster_) {
  for (const auto& [key, nominated] : all.pods_) {
    if (key == pod.key || nominated.priority < pod.priority) aside_.push_back(key);
  }
  for (const std::string& key : aside_) cluster_.set_aside(key, true);
}

Nominations::View::~View() {
  for (const std::string& key : aside_) cluster_.set_aside(key, false);
}

}  // namespace gantry::scheduler
