#include <fmt/format.h>
#include <signal.h>

#include <random>

#include "tools/load/node/node.h"
#include "tools/load/node/runs.h"

namespace gantry::load {

namespace {

using Clock = std::chrono::steady_clock;

struct Wanted {
  enum class Kind : uint8_t { kStays, kEnds, kWhole } kind = Kind::kStays;
  std::string name;
  int exit_code = 0;
  bool disturbed = false;  // its shim was killed: its containers may be others
  std::string first_id;    // of its main container, once seen running
};

class Kills {
 public:
  Kills(Node& node, const KillOptions& options) : node_(node), options_(options), random_(options.seed) {}

  Status run() {
    for (int i = 0; i < 4; ++i) {
      if (auto made = create(); !made) return made;
    }
    for (int i = 0; i < options_.kills; ++i) {
      for (int changes = random(3); changes > 0; --changes) {
        const bool fewer = random(3) == 0 || wanted_.size() > 7;
        if (auto done = fewer ? remove() : create(); !done) return done;
      }
      if (auto done = work(random(500)); !done) return done;
      if (auto done = kill_something(); !done) return done;
    }
    if (auto done = end_state(); !done) return done;
    fmt::print("kills: {} (agent {}, containerd {}, shim {}), seed {}: {} pods made, {} at the end, all as wanted\n",
               options_.kills, agents_, containerds_, shims_, options_.seed, made_, wanted_.size());
    return nothing_left();
  }

 private:
  int random(int below) { return static_cast<int>(random_() % static_cast<unsigned>(below)); }
  static Error broken(std::string what) { return {Code::kInternal, std::move(what)}; }

  Status create() {
    Wanted w;
    w.name = fmt::format("pod-{}", ++made_);
    nlohmann::json spec;
    switch (random(4)) {
      case 0:
        w.kind = Wanted::Kind::kEnds;
        w.exit_code = random(2);
        spec = pod_that_ends(w.exit_code);
        break;
      case 1:
        w.kind = Wanted::Kind::kWhole;
        spec = pod_with_volumes();
        break;
      default:
        spec = pod_that_stays();
    }
    auto uid = node_.create(w.name, spec);
    if (!uid) return uid.error();
    wanted_[*uid] = w;
    return Done{};
  }

  Status remove() {
    if (wanted_.empty()) return Done{};
    auto victim = std::next(wanted_.begin(), random(static_cast<int>(wanted_.size())));
    auto done = node_.remove(victim->second.name, random(4) == 0);
    wanted_.erase(victim);
    return done;
  }

  Status work(int milliseconds) {
    const auto end = Clock::now() + std::chrono::milliseconds(milliseconds);
    if (auto done = node_.until("working", 60, [&] { return Clock::now() >= end; }); !done) return done;
    return look();
  }

  // Never two of one container at once, and the one that runs is always the same.
  Status look() {
    const auto tasks = node_.running_tasks();
    const auto containers = node_.cri_containers();
    std::map<std::pair<std::string, std::string>, std::string> running;
    std::set<std::string> told;  // that CRI says so, too: what it only begins to start, it may still give up
    for (const auto& [id, c] : containers) {
      if (c.name.empty() || tasks.count(id) == 0) continue;
      if (!running.emplace(std::pair(c.pod_uid, c.name), id).second)
        return broken(fmt::format("{} of pod {} runs twice", c.name, c.pod_uid));
      if (c.running) told.insert(id);
    }
    for (auto& [uid, w] : wanted_) {
      const auto main = running.find({uid, "main"});
      if (main == running.end() || told.count(main->second) == 0 || w.kind == Wanted::Kind::kEnds) continue;
      if (w.first_id.empty() || w.disturbed) w.first_id = main->second;
      if (w.first_id != main->second)
        return broken(fmt::format("{} runs another container, although nobody touched it", w.name));
    }
    return Done{};
  }

  Status kill_something() {
    switch (random(4)) {
      case 0:
        ++containerds_;
        node_.containerd().kill9();
        // Not work(): nobody answers what runs.
        if (auto done = node_.until(
                "working", 60,
                [end = Clock::now() + std::chrono::milliseconds(random(200))] { return Clock::now() >= end; });
            !done)
          return done;
        return node_.containerd().restart();
      case 1:
        return kill_shim();
      default:
        ++agents_;
        node_.kill_agent();
        if (auto done = work(random(200)); !done) return done;
        return node_.start_agent();
    }
  }

  Status kill_shim() {
    std::vector<std::pair<std::string, std::string>> sandboxes;  // pod uid, id
    for (const auto& [id, c] : node_.cri_containers()) {
      if (c.name.empty() && c.running) sandboxes.emplace_back(c.pod_uid, id);
    }
    if (sandboxes.empty()) return Done{};
    const auto& [uid, id] = sandboxes[static_cast<size_t>(random(static_cast<int>(sandboxes.size())))];
    for (const auto& [pid, command] : dev::all_processes()) {
      if (command.find("containerd-shim-runc-v2 -namespace k8s.io -id " + id) == std::string::npos) continue;
      if (auto w = wanted_.find(uid); w != wanted_.end()) w->second.disturbed = true;
      ++shims_;
      kill(pid, SIGKILL);
      break;
    }
    return Done{};
  }

  bool settled(const std::string& uid, const Wanted& w) const {
    const auto pod = node_.pods().find(uid);
    if (pod == node_.pods().end()) return false;
    if (w.kind != Wanted::Kind::kEnds) return pod->second.ready;
    return pod->second.phase == "Succeeded" || pod->second.phase == "Failed";
  }

  Status end_state() {
    for (const auto& [uid, w] : wanted_) {
      if (auto done =
              node_.until(w.name + " to be as wanted", 180, [&, &uid = uid, &w = w] { return settled(uid, w); });
          !done)
        return done;
    }
    // A call to containerd that hangs is given up after two minutes.
    if (auto done = node_.until("what was deleted to go", 240, [&] { return node_.present() == wanted_.size(); });
        !done) {
      std::string who;
      for (const auto& [uid, pod] : node_.pods()) {
        if (pod.deleted == 0 && wanted_.count(uid) == 0) who += fmt::format(" {} ({}, {})", pod.name, uid, pod.phase);
      }
      return broken(done.error().message + ":" + who);
    }
    // By force deleted ones are gone from the API before they are from here.
    std::string wrong;
    auto done = node_.until("containers to be as the API says", 90, [&] { return (wrong = differs()).empty(); });
    return done ? done : Status(broken(wrong));
  }

  // What the API says beside what runs; empty: the same.
  std::string differs() const {
    auto tasks = node_.running_tasks();
    for (const auto& [id, c] : node_.cri_containers()) {
      if (c.name.empty() && wanted_.count(c.pod_uid) != 0) tasks.erase(id);
    }
    for (const auto& [uid, w] : wanted_) {
      const auto& pod = node_.pods().at(uid);
      const size_t expected = w.kind == Wanted::Kind::kEnds ? 0 : w.kind == Wanted::Kind::kWhole ? 2 : 1;
      if (pod.running_ids.size() != expected)
        return fmt::format("{}: {} containers run", w.name, pod.running_ids.size());
      for (const auto& [name, id] : pod.running_ids) {
        if (tasks.erase(id) == 0) return fmt::format("{} of {} is said to run", name, w.name);
      }
      const auto* phase = w.exit_code == 0 ? "Succeeded" : "Failed";
      if (expected == 0 && !w.disturbed && pod.phase != phase)
        return fmt::format("{} is {}, not {}", w.name, pod.phase, phase);
    }
    return tasks.empty() ? "" : fmt::format("{} runs and belongs to nobody", *tasks.begin());
  }

  Status nothing_left() {
    for (const auto& [_, w] : wanted_) {
      if (auto done = node_.remove(w.name); !done) return done;
    }
    Holdings held;
    std::string left;
    auto done = node_.until("everything to be gone", 120, [&] {
      left.clear();
      held = node_.holdings();
      for (const char* what : {"directories of pods", "directories of logs", "mounts", "network namespaces",
                               "addresses", "containers of containerd", "tasks of containerd"}) {
        if (held.counts[what] != 0) left += fmt::format(" {}: {}", what, held.counts[what]);
      }
      return node_.present() == 0 && left.empty();
    });
    return done ? done : Status(broken("left behind:" + left));
  }

  Node& node_;
  const KillOptions& options_;
  std::mt19937 random_;
  std::map<std::string, Wanted> wanted_;  // by uid
  int made_ = 0, agents_ = 0, containerds_ = 0, shims_ = 0;
};

}  // namespace

Status run_kills(const KillOptions& options) {
  auto node = Node::start(options.cluster);
  if (!node) return node.error();
  return Kills(**node, options).run();
}

}  // namespace gantry::load
