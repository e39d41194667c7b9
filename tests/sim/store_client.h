// One gateway's connection to the simulated store: its calls are forwarded, and answers that come after its end are
// dropped, as a dead process' are.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "libs/state/store.h"

namespace gantry::sim {

/// Loop's thread only; `loop` and `store` outlive it.
class StoreClient final : public state::Store {
 public:
  StoreClient(Loop& loop, state::Store& store) : loop_(loop), store_(store) {}

  /// False: every new call fails with kUnavailable.
  void set_connected(bool connected) { connected_ = connected; }

  void commit(state::Commit commit, state::Callback<state::Committed> done) override {
    if (refuse(done)) return;
    store_.commit(std::move(commit), guard(std::move(done)));
  }
  void get(state::Key key, state::Callback<std::optional<state::Stored>> done) override {
    if (refuse(done)) return;
    store_.get(std::move(key), guard(std::move(done)));
  }
  void snapshot(std::string resource, state::Callback<state::Snapshot> done) override {
    if (refuse(done)) return;
    store_.snapshot(std::move(resource), guard(std::move(done)));
  }
  void read_log(std::string resource, state::Revision after, size_t limit,
                state::Callback<std::vector<state::LogEntry>> done) override {
    if (refuse(done)) return;
    store_.read_log(std::move(resource), after, limit, guard(std::move(done)));
  }
  void head(std::string resource, state::Callback<state::Revision> done) override {
    if (refuse(done)) return;
    store_.head(std::move(resource), guard(std::move(done)));
  }
  void heads(std::string resource,
             state::Callback<std::vector<std::pair<std::string, state::Revision>>> done) override {
    if (refuse(done)) return;
    store_.heads(std::move(resource), guard(std::move(done)));
  }
  std::shared_ptr<void> watch(std::string resource, std::function<void()> changed) override {
    return store_.watch(std::move(resource), std::move(changed));
  }
  void trim(std::string resource, state::Revision keep, state::Callback<Done> done) override {
    if (refuse(done)) return;
    store_.trim(std::move(resource), keep, guard(std::move(done)));
  }
  void set_cursor(std::string name, std::string value, state::Callback<Done> done) override {
    if (refuse(done)) return;
    store_.set_cursor(std::move(name), std::move(value), guard(std::move(done)));
  }
  void get_cursor(std::string name, state::Callback<std::optional<std::string>> done) override {
    if (refuse(done)) return;
    store_.get_cursor(std::move(name), guard(std::move(done)));
  }
  void shares(std::string account, state::Callback<std::vector<state::Share>> done) override {
    if (refuse(done)) return;
    store_.shares(std::move(account), guard(std::move(done)));
  }
  void hold(std::string name, std::string holder, uint32_t ttl_millis, state::Callback<uint64_t> done) override {
    if (refuse(done)) return;
    store_.hold(std::move(name), std::move(holder), ttl_millis, guard(std::move(done)));
  }

 private:
  template <typename T>
  state::Callback<T> guard(state::Callback<T> done) {
    return [alive = std::weak_ptr(alive_), done = std::move(done)](Result<T> result) {
      if (!alive.expired()) done(std::move(result));
    };
  }
  template <typename T>
  bool refuse(const state::Callback<T>& done) {
    if (connected_) return false;
    loop_.post([done = guard(done)] { done(Error{.code = Code::kUnavailable, .message = "state: no connection"}); });
    return true;
  }

  Loop& loop_;
  state::Store& store_;
  bool connected_ = true;
  std::shared_ptr<int> alive_ = std::make_shared<int>(0);
};

}  // namespace gantry::sim
