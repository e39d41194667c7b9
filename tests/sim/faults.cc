#include "tests/sim/faults.h"

#include <fmt/format.h>

namespace gantry::sim {

using state::testing::MemoryStore;

Faults::Faults(Cluster& cluster, Monitor& monitor, Workload& workload, uint64_t seed, bool lose_tails)
    : cluster_(cluster), monitor_(monitor), workload_(workload), random_(seed), lose_tails_(lose_tails) {}

Duration Faults::seconds(double least, double most) {
  return Duration(static_cast<int64_t>((least + fraction() * (most - least)) * 1e6));
}

void Faults::tell(std::string what) {
  story_.push_back(fmt::format("t={:.3f}s {}", static_cast<double>(cluster_.loop.now().count()) / 1e6, what));
}

void Faults::later(Duration after, std::function<void()> end) {
  uint64_t id = ++next_end_;
  ends_[id] = cluster_.loop.after(after, [this, id, end = std::move(end)] {
    auto run = end;
    ends_.erase(id);  // destroys this lambda
    run();
  });
}

void Faults::start() { next(); }

void Faults::next() {
  next_ = cluster_.loop.after(seconds(0.2, 8), [this] {
    strike();
    next();
  });
}

void Faults::stop() {
  next_.reset();
  ends_.clear();
  cluster_.network.set_faults({});
  cluster_.store.set_commit_fault(nullptr);
  cluster_.store.set_fault(nullptr);
  cluster_.store.set_delay(nullptr);
  cluster_.store.set_available(true);
  cluster_.heal();
  workload_.bus().set_connected(true);
  tell("healed");
}

std::string Faults::someone() {
  auto names = cluster_.names();
  return names[static_cast<size_t>(pick(static_cast<int>(names.size())))];
}

void Faults::strike() {
  int dice = pick(100);
  if (dice < 25) return network_trouble();
  if (dice < 45) return store_trouble();
  if (dice < 55) return store_crash();
  if (dice < 75) return cut(someone());
  kill(someone());
}

void Faults::network_trouble() {
  testing::Faults faults;
  if (pick(2) == 0) faults.drop = fraction() * 0.3;
  if (pick(2) == 0) faults.duplicate = fraction() * 0.3;
  if (pick(2) == 0) faults.max_delay = seconds(0, pick(3) == 0 ? 2 : 0.05);
  // A bus doubles what the relay publishes again; a request it delivers at most once (clients repeat those).
  bool events_only = pick(4) == 0 || faults.duplicate > 0;
  if (events_only)
    faults.only = [](std::string_view subject) {
      return subject.starts_with("gantry.events.") || subject.starts_with("gantry.heads.");
    };
  tell(fmt::format("network: drop={:.2f} duplicate={:.2f} delay<={}us{}", faults.drop, faults.duplicate,
                   faults.max_delay.count(), events_only ? " (events)" : ""));
  cluster_.network.set_faults(std::move(faults));
  later(seconds(1, 20), [this] { cluster_.network.set_faults({}); });
}

void Faults::store_trouble() {
  switch (pick(3)) {
    case 0:
      tell("store: unavailable");
      cluster_.store.set_available(false);
      return later(seconds(0.1, 12), [this] { cluster_.store.set_available(true); });
    case 1: {
      double p = fraction() * 0.3;
      tell(fmt::format("store: calls are lost, p={:.2f}", p));
      auto draw = [this, p] {
        if (fraction() >= p) return MemoryStore::Fault::kNone;
        return static_cast<MemoryStore::Fault>(1 + pick(3));
      };
      cluster_.store.set_commit_fault([draw](const state::Commit&) { return draw(); });
      cluster_.store.set_fault(draw);
      return later(seconds(1, 15), [this] {
        cluster_.store.set_commit_fault(nullptr);
        cluster_.store.set_fault(nullptr);
      });
    }
    default: {
      Duration most = seconds(0.0001, 0.3);
      tell(fmt::format("store: slow, up to {}us", most.count()));
      cluster_.store.set_delay([this, most] { return Duration(pick(static_cast<int>(most.count()) + 1)); });
      return later(seconds(1, 15), [this] { cluster_.store.set_delay(nullptr); });
    }
  }
}

void Faults::store_crash() {
  if (lose_tails_ && pick(2) == 0) {
    tell("store: fails over to a replica that is behind");
    lost_tail_ = true;
    monitor_.read_all();
    cluster_.store.promote_replica(random_());
    monitor_.store_failed_over();
  } else {
    tell("store: restarts");
    cluster_.store.crash(random_());
  }
}

void Faults::cut(const std::string& name) {
  Process* process = cluster_.find(name);
  if (process == nullptr) return;
  // Now and then long enough that a node counts as gone.
  Duration time = pick(4) == 0 ? seconds(30, 90) : seconds(0.1, 15);
  bool store = name.starts_with("gateway") && pick(2) == 0;
  tell(fmt::format("{} is cut off{} for {}ms", name, store ? " from the store" : "", time.count() / 1000));
  if (store) {
    process->set_store_connected(false);
  } else {
    process->bus().set_connected(false);
  }
  later(time, [this, name, store] {
    Process* now = cluster_.find(name);  // another one if it crashed meanwhile
    if (now == nullptr) return;
    if (store) {
      now->set_store_connected(true);
    } else {
      now->bus().set_connected(true);
    }
  });
}

void Faults::kill(const std::string& name) {
  Duration downtime = pick(5) == 0 ? seconds(20, 80) : seconds(0.001, 10);
  bool reboot = name.starts_with("node-") && pick(3) == 0;
  tell(fmt::format("{} {} for {}ms", name, reboot ? "reboots" : "is killed", downtime.count() / 1000));
  if (reboot) {
    cluster_.reboot(name, downtime);
  } else {
    cluster_.crash(name, downtime);
  }
}

}  // namespace gantry::sim
