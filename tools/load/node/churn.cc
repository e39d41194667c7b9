#include <fmt/format.h>

#include "tools/load/node/node.h"
#include "tools/load/node/runs.h"

namespace gantry::load {

namespace {

constexpr int kPatience = 120;  // seconds until one of them is ready, or gone

bool lived(const SeenPod& pod) { return pod.ready || pod.phase == "Succeeded" || pod.phase == "Failed"; }

class Churn {
 public:
  Churn(Node& node, size_t at_once) : node_(node), at_once_(at_once) {}

  /// So many more come and go.
  Status run(int pods) {
    const int end = made_ + pods;
    while (made_ < end || node_.present() > 0) {
      while (made_ < end && node_.present() < at_once_) {
        if (auto made = create(); !made) return made;
      }
      auto some = node_.until(fmt::format("{} pods, {} made", node_.present(), made_), kPatience, [&] {
        return std::any_of(node_.pods().begin(), node_.pods().end(), [&](const auto& e) {
          return e.second.deleted != 0 || (lived(e.second) && !asked(e.first));
        });
      });
      if (!some) return some;
      auto pods_now = node_.pods();
      for (const auto& [uid, pod] : pods_now) {
        if (pod.deleted != 0) {
          asked_.erase(uid);
        } else if (lived(pod) && asked_.insert(uid).second) {
          if (auto gone = node_.remove(pod.name, made_ % 10 == 0); !gone) return gone;
        }
      }
      node_.forget_gone();
    }
    return Done{};
  }

 private:
  bool asked(const std::string& uid) const { return asked_.count(uid) != 0; }
  Status create() {
    const int n = made_++;
    const auto spec = n % 4 == 0   ? pod_with_volumes()
                      : n % 4 == 1 ? pod_that_ends(n % 8 == 1 ? 0 : 3)
                                   : pod_that_stays();
    auto made = node_.create(fmt::format("churn-{}", n), spec);
    if (!made) return made.error();
    // Counted from now on, whenever its event comes.
    return node_.until("a pod's creation to be told", 60, [&] { return node_.pods().count(*made) != 0; });
  }

  Node& node_;
  size_t at_once_;
  int made_ = 0;
  std::set<std::string> asked_;
};

}  // namespace

Status run_churn(const ChurnOptions& options) {
  auto started = Node::start(options.cluster);
  if (!started) return started.error();
  auto& node = **started;
  Churn churn(node, static_cast<size_t>(options.at_once));
  // What the first pods bring stays: threads, connections, the kernel's own.
  if (auto done = churn.run(options.at_once); !done) return done;
  if (auto done = node.settle(5); !done) return done;
  const auto before = node.holdings();
  const auto start = std::chrono::steady_clock::now();
  const auto busy = node.usage().cpu_seconds;
  if (auto done = churn.run(options.pods); !done) return done;
  const auto took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const auto agent = node.usage().cpu_seconds - busy;
  Holdings after;
  const auto same = [&] { return (after = node.holdings()).counts == before.counts; };
  for (int i = 0; i < 6 && !same(); ++i) {
    if (auto done = node.settle(5); !done) return done;
  }
  if (auto done = node.settle(options.pods > 1000 ? 30 : 0); !done) return done;
  same();
  fmt::print("| | before | after |\n|---|---|---|\n| memory of the agent, MB | {:.1f} | {:.1f} |\n", before.agent_mb,
             after.agent_mb);
  int left = 0;
  for (const auto& [what, count] : before.counts) {
    fmt::print("| {} | {} | {} |\n", what, count, after.counts[what]);
    // Threads of a pool come and go, and descriptors with them.
    const bool pool = what.ends_with("of the agent");
    left += after.counts[what] > count + (pool ? 4 : 0) ? 1 : 0;
  }
  const bool grown = after.agent_mb - before.agent_mb > options.most_growth_mb;
  fmt::print("churn: {} pods created and deleted in {:.0f} s, {} at once; agent {:.2f} CPU s; memory {:+.1f} MB; {}\n",
             options.pods, took, options.at_once, agent, after.agent_mb - before.agent_mb,
             left == 0 ? "nothing left behind" : "something is left behind");
  if (left == 0 && !grown) return Done{};
  return Error{Code::kInternal, left == 0 ? "the agent's memory grew" : "the node does not end where it began"};
}

}  // namespace gantry::load
