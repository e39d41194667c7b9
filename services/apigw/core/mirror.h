// The projection of one kind, fed straight from the store's change log: what reads are answered from. It also keeps a
// window of recent changes, from which watches go on after a revision and lists continue at theirs. Loop's thread only.
#pragma once

#include <deque>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "libs/base/loop.h"
#include "libs/projection/cache.h"
#include "libs/state/store.h"
#include "services/apigw/core/alive.h"
#include "services/apigw/core/past.h"

namespace gantry::apigw {

class Mirror {
 public:
  /// One change: before and after, either of them empty.
  struct Entry {
    uint64_t revision = 0;
    model::Object before, after;
    Duration at{};  // when this learned of it
  };
  using Done = std::function<void(Status)>;

  Mirror(Loop& loop, state::Store& store, const model::Kind& kind, size_t window);
  Mirror(const Mirror&) = delete;
  Mirror& operator=(const Mirror&) = delete;

  /// Takes the snapshot and follows the log from there.
  void start();

  const model::Kind& kind() const { return cache_.kind(); }
  projection::Cache& cache() { return cache_; }
  const projection::Cache& cache() const { return cache_; }
  const model::Object* find(std::string_view ns, std::string_view name) const { return cache_.find(ns, name); }
  bool synced() const { return synced_; }
  /// What all that is here is at; kNever for a kind that never had an object.
  uint64_t revision() const { return revision_; }
  /// Before the first change of any kind in any epoch: clients get it as the resourceVersion of what was never written,
  /// and may watch from it.
  static constexpr uint64_t kNever = uint64_t{1} << state::kEpochShift;
  /// As the store and the chains count: 0 for a kind that never had an object.
  uint64_t written() const { return revision_ == kNever ? 0 : revision_; }

  /// Calls back when this covers `revision`; kTimeout if that does not come to pass in time. May call back at once.
  void await(uint64_t revision, Done done, Duration limit = std::chrono::seconds(5));
  /// Calls back when this covers everything that was committed before the call.
  void at_head(Done done);

  // The window: entries are numbered without gaps; it holds the numbers begin() <= n < end().
  uint64_t begin() const { return first_; }
  uint64_t end() const { return first_ + window_.size(); }
  const Entry& entry(uint64_t number) const { return window_[number - first_]; }
  /// The number of the first change after `revision`; nullopt when the window does not reach back to it.
  std::optional<uint64_t> after(uint64_t revision) const;
  /// The oldest revision that `after` answers.
  uint64_t oldest() const { return oldest_; }

  /// How the objects were at a revision, null when that is too long ago.
  std::shared_ptr<const Past::Undone> undone(uint64_t revision) const { return past_.at(*this, revision); }

  /// The last revision of one chain ("all", "node.<token>", "namespace.<token>"), exact for what this covers once it is
  /// at the head; 0 if it never had one.
  uint64_t chain_head(const std::string& chain) const;

  /// Called when the window or the revision has moved, until the handle is destroyed.
  std::shared_ptr<void> on_moved(std::function<void()> callback);

 private:
  void load();
  void loaded(state::Snapshot snapshot, const std::vector<std::pair<std::string, state::Revision>>& heads);
  void load_failed(const Error& error);
  void read_more();
  void fill_bodies(std::vector<state::LogEntry> entries);
  void apply(const std::vector<state::LogEntry>& entries, const std::map<uint64_t, std::string>& bodies);
  bool apply_one(const state::LogEntry& entry, const std::map<uint64_t, std::string>& bodies);
  void raise_heads(const state::LogEntry& entry);
  void remember(Entry entry);
  void trim();
  void send_head();
  void moved();

  struct Waiter {
    Duration deadline;
    Done done;
  };

  Loop& loop_;
  state::Store& store_;
  projection::Cache cache_;
  const size_t max_window_;
  const bool bodies_apart_;  // the log carries metadata only (Secrets): bodies are fetched
  bool synced_ = false, reading_ = false, again_ = false, loading_ = false;
  uint64_t revision_ = kNever;
  std::deque<Entry> window_;
  uint64_t first_ = 0, oldest_ = 0;
  size_t window_bytes_ = 0;
  mutable Past past_;
  std::unordered_map<std::string, uint64_t> heads_;
  std::multimap<uint64_t, Waiter> waiters_;
  std::vector<Done> head_next_, head_sent_;
  std::list<std::weak_ptr<std::function<void()>>> listeners_;
  std::shared_ptr<void> watch_;
  Timer retry_, expiry_;
  Alive alive_;
};

}  // namespace gantry::apigw
