// Pods that wait on a node for those they drove out to be gone. Meanwhile they hold their room there against all whose
// priority is not higher. Not thread-safe.
#pragma once

#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "services/scheduler/cluster.h"

namespace gantry::scheduler {

class Nominations {
 public:
  /// `cluster` outlives it; the pods that are nominated take room in it.
  explicit Nominations(Cluster& cluster) : cluster_(cluster) {}

  void add(const PodInfo& pod, const std::string& node, std::set<std::string> victims = {});
  /// It has no claim to the room any more.
  void drop(const std::string& key);
  /// It was bound, or somebody else says where it is: the room is its own.
  void settle(const std::string& key) { pods_.erase(key); }
  void clear();

  bool contains(const std::string& key) const { return pods_.contains(key); }
  bool empty() const { return pods_.empty(); }
  /// "": it is not nominated.
  std::string_view node_of(const std::string& key) const;
  /// Pods of lower priority are on their way out there.
  bool waits(const std::string& key) const;
  /// Its victims could not be told to go.
  void forget_victims(const std::string& key);
  /// Those nominated for the node with a lower priority than that.
  std::vector<std::string> below(std::string_view node, int32_t priority) const;

  /// The cluster as it is for one pod: without its own claim and those of less important pods, for as long as it lives.
  class View {
   public:
    View(const Nominations& all, const PodInfo& pod);
    ~View();
    View(const View&) = delete;
    View& operator=(const View&) = delete;

   private:
    Cluster& cluster_;
    std::vector<std::string> aside_;
  };

 private:
  struct Nominated {
    std::string node;
    int32_t priority;
    std::set<std::string> victims;
  };
  Cluster& cluster_;
  std::unordered_map<std::string, Nominated> pods_;
};

}  // namespace gantry::scheduler
