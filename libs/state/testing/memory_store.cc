#include "libs/state/testing/memory_store.h"

#include <random>
#include <utility>

#include "libs/state/failures.h"

namespace gantry::state::testing {

struct MemoryStore::Watcher {
  std::function<void()> changed;
  bool queued = false;
};

MemoryStore::MemoryStore(Loop& loop) : loop_(loop) {}
MemoryStore::~MemoryStore() = default;

void MemoryStore::later(std::function<void()> callback) {
  auto guarded = [alive = std::weak_ptr(alive_), callback = std::move(callback)] {
    if (alive.lock()) callback();
  };
  if (!delay_) return loop_.post(std::move(guarded));
  uint64_t id = next_id_++;
  timers_[id] = loop_.after(delay_(), [this, id, guarded = std::move(guarded)] {
    auto callback = guarded;
    timers_.erase(id);  // destroys this lambda
    callback();
  });
}

template <typename T>
void MemoryStore::call(Fault fault, Code lost, std::function<Result<T>()> run, Callback<T> done) {
  if (!available_ || fault == Fault::kUnavailable) {
    later([done] { done(Error{.code = Code::kUnavailable, .message = "state: no connection"}); });
    return;
  }
  uint64_t id = next_id_++;
  auto result = std::make_shared<std::optional<Result<T>>>();
  auto lose = [done, lost] { done(Error{.code = lost, .message = "state: the connection was lost"}); };
  flights_[id] = {.run = [run, result] { result->emplace(run()); }, .lose = lose};
  later([this, id, fault, result, done, lose] {
    auto flight = flights_.find(id);
    if (flight == flights_.end()) return;  // a crash has answered
    flight->second.arrived = true;
    if (fault != Fault::kLostBefore) flight->second.run();
    auto answer = [this, id, fault, result, done, lose] {
      if (flights_.erase(id) == 0) return;
      if (fault != Fault::kNone) {
        lose();
      } else {
        done(std::move(**result));
      }
    };
    if (delay_) {
      later(answer);
    } else {
      answer();
    }
  });
}

void MemoryStore::replicate(Write write) {
  if (lag_ == 0) return;
  unreplicated_.push_back(std::move(write));
  for (; unreplicated_.size() > lag_; unreplicated_.pop_front()) unreplicated_.front()(replica_);
}

void MemoryStore::commit(Commit commit, Callback<Committed> done) {
  auto shared = std::make_shared<const Commit>(std::move(commit));
  auto fault = commit_fault_ ? commit_fault_(*shared) : Fault::kNone;
  call<Committed>(
      fault, Code::kUnknownOutcome,
      [this, shared]() -> Result<Committed> {
        if (auto checked = check_commit(*shared); !checked) return checked.error();
        auto now = loop_.wall();
        auto out = state_.commit(*shared, now);
        replicate([shared, now](MemoryState& state) { (void)state.commit(*shared, now); });
        if (out.ok() && !out->duplicate) {
          for (const auto& operation : shared->operations) {
            if (operation.kind == Operation::Kind::kPut || operation.kind == Operation::Kind::kDelete) {
              changed(operation.key.resource);
            }
          }
        }
        return out;
      },
      std::move(done));
}

void MemoryStore::get(Key key, Callback<std::optional<Stored>> done) {
  call<std::optional<Stored>>(
      next_fault(), Code::kTimeout, [this, key]() -> Result<std::optional<Stored>> { return state_.get(key); },
      std::move(done));
}

void MemoryStore::snapshot(std::string resource, Callback<Snapshot> done) {
  call<Snapshot>(
      next_fault(), Code::kTimeout, [this, resource]() -> Result<Snapshot> { return state_.snapshot(resource); },
      std::move(done));
}

void MemoryStore::read_log(std::string resource, Revision after, size_t limit, Callback<std::vector<LogEntry>> done) {
  call<std::vector<LogEntry>>(
      next_fault(), Code::kTimeout, [this, resource, after, limit] { return state_.read_log(resource, after, limit); },
      std::move(done));
}

void MemoryStore::head(std::string resource, Callback<Revision> done) {
  call<Revision>(
      next_fault(), Code::kTimeout, [this, resource]() -> Result<Revision> { return state_.head(resource); },
      std::move(done));
}

void MemoryStore::heads(std::string resource, Callback<std::vector<std::pair<std::string, Revision>>> done) {
  using Heads = std::vector<std::pair<std::string, Revision>>;
  call<Heads>(
      next_fault(), Code::kTimeout, [this, resource]() -> Result<Heads> { return state_.heads(resource); },
      std::move(done));
}

void MemoryStore::shares(std::string account, Callback<std::vector<Share>> done) {
  call<std::vector<Share>>(
      next_fault(), Code::kTimeout, [this, account]() -> Result<std::vector<Share>> { return state_.shares(account); },
      std::move(done));
}

std::shared_ptr<void> MemoryStore::watch(std::string resource, std::function<void()> changed) {
  auto watcher = std::make_shared<Watcher>(Watcher{std::move(changed)});
  auto& list = watchers_[resource];
  std::erase_if(list, [](const auto& weak) { return weak.expired(); });
  list.push_back(watcher);
  return watcher;
}

void MemoryStore::changed(const std::string& resource) {
  auto list = watchers_.find(resource);
  if (list == watchers_.end()) return;
  for (const auto& weak : list->second) {
    auto watcher = weak.lock();
    if (watcher == nullptr || std::exchange(watcher->queued, true)) continue;
    later([weak] {
      auto watcher = weak.lock();
      if (watcher == nullptr) return;
      watcher->queued = false;
      watcher->changed();
    });
  }
}

void MemoryStore::wake_all() {
  for (const auto& [resource, list] : watchers_) changed(resource);
}

void MemoryStore::trim(std::string resource, Revision keep_revision, Callback<Done> done) {
  call<Done>(
      next_fault(), Code::kTimeout,
      [this, resource, keep_revision]() -> Result<Done> {
        state_.trim(resource, keep_revision);
        replicate([resource, keep_revision](MemoryState& state) { state.trim(resource, keep_revision); });
        return Done{};
      },
      std::move(done));
}

void MemoryStore::set_cursor(std::string name, std::string value, Callback<Done> done) {
  call<Done>(
      next_fault(), Code::kTimeout,
      [this, name, value]() -> Result<Done> {
        state_.cursors()[name] = value;
        replicate([name, value](MemoryState& state) { state.cursors()[name] = value; });
        return Done{};
      },
      std::move(done));
}

void MemoryStore::get_cursor(std::string name, Callback<std::optional<std::string>> done) {
  call<std::optional<std::string>>(
      next_fault(), Code::kTimeout,
      [this, name]() -> Result<std::optional<std::string>> {
        auto cursor = state_.cursors().find(name);
        return cursor == state_.cursors().end() ? std::nullopt : std::optional(cursor->second);
      },
      std::move(done));
}

void MemoryStore::hold(std::string name, std::string holder, uint32_t ttl_millis, Callback<uint64_t> done) {
  call<uint64_t>(
      next_fault(), Code::kTimeout,
      [this, name, holder, ttl_millis]() -> Result<uint64_t> {
        auto now = loop_.wall();
        replicate(
            [name, holder, ttl_millis, now](MemoryState& state) { (void)state.hold(name, holder, ttl_millis, now); });
        return state_.hold(name, holder, ttl_millis, now);
      },
      std::move(done));
}

void MemoryStore::raise_epoch() {
  state_.set_epoch(state_.epoch() + 1);
  replicate([epoch = state_.epoch()](MemoryState& state) { state.set_epoch(epoch); });
}

void MemoryStore::abort_flights(uint64_t seed) {
  std::mt19937_64 random(seed);
  auto flights = std::exchange(flights_, {});
  for (auto& [id, flight] : flights) {
    if (!flight.arrived && random() % 2 == 0) flight.run();
    later(flight.lose);
  }
}

void MemoryStore::crash(uint64_t seed) {
  abort_flights(seed);
  raise_epoch();
  wake_all();
}

void MemoryStore::set_replica_lag(size_t commits) {
  lag_ = commits;
  replica_ = state_;
  unreplicated_.clear();
}

void MemoryStore::promote_replica(uint64_t seed) {
  if (lag_ == 0) return crash(seed);
  abort_flights(seed);
  replica_.set_epoch(state_.epoch() + 1);
  state_ = replica_;
  unreplicated_.clear();
  wake_all();
}

}  // namespace gantry::state::testing
