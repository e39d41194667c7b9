// A local copy of one resource (or one chain of it), fed by events, with indexes: what other systems call an informer.
// Loop's thread only.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "libs/bus/events.h"
#include "libs/model/object.h"

namespace gantry::projection {

struct Change {
  model::Object before;  // empty: added
  model::Object after;   // empty: removed
};

/// The untyped store: objects by "<namespace>/<name>", and named indexes. Fed by attach() in services, or by
/// apply()/reset() directly (apigw, tests, simulation).
class Cache {
 public:
  explicit Cache(const model::Kind& kind) : kind_(&kind) {}
  Cache(const Cache&) = delete;
  Cache& operator=(const Cache&) = delete;

  const model::Kind& kind() const { return *kind_; }
  /// Revision that this covers; decisions wait until it has reached what their commands returned.
  uint64_t revision() const { return revision_; }
  bool synced() const { return synced_; }

  const model::Object* find(std::string_view ns, std::string_view name) const;
  size_t size() const { return objects_.size(); }
  void for_each(const std::function<void(const model::Object&)>& visit) const;
  void for_each_in(std::string_view ns,
                   const std::function<void(const model::Object&)>& visit) const;  // ordered by name

  /// In the order of their keys ("<namespace>/<name>"): those of `ns` ("" = all) whose key is above `after`, until
  /// `visit` says false.
  void for_each_after(std::string_view ns, std::string_view after,
                      const std::function<bool(const std::string& key, const model::Object&)>& visit) const;

  /// The index maps an object to zero or more values. Add before the first object comes.
  using Indexer = std::function<void(const model::Object&, std::vector<std::string>& values)>;
  void add_index(std::string name, Indexer indexer);
  /// Objects with `value` in index `name`, in the order of their keys. An index that was never added is a programming
  /// error. The cache must not change during a visit (of any for_each).
  void for_each_by(std::string_view name, std::string_view value,
                   const std::function<void(const model::Object&)>& visit) const;

  /// Called after each change is in. Subscribers stay for the cache's life.
  void on_change(std::function<void(const Change&)> callback) { callbacks_.push_back(std::move(callback)); }
  /// Called once, when the cache is first complete; at once if it is already.
  void on_synced(std::function<void()> callback);

  // The feeding side.
  void reset(uint64_t revision, std::vector<model::Object> objects);  // tells the differences as changes
  void put(model::Object object, uint64_t revision);
  void remove(std::string_view ns, std::string_view name, uint64_t revision);
  void cover(uint64_t revision) { revision_ = std::max(revision_, revision); }  // nothing in it changed
  void mark_synced();

 private:
  using Objects = std::map<std::string, model::Object, std::less<>>;  // by "<ns>/<name>"
  struct ByKey {
    bool operator()(const Objects::value_type* a, const Objects::value_type* b) const { return a->first < b->first; }
  };
  struct Index {
    std::string name;
    Indexer indexer;
    // value -> entries of objects_, ordered: same view, same decisions
    std::unordered_map<std::string, std::set<const Objects::value_type*, ByKey>> entries;
  };
  /// Moves `entry` in the indexes from what `before` says to what `after` says; either may be empty.
  void index(const Objects::value_type& entry, const model::Object& before, const model::Object& after);
  void tell(const Change& change);
  const model::Kind* kind_;
  uint64_t revision_ = 0;
  bool synced_ = false;
  Objects objects_;
  std::vector<Index> indexes_;
  std::vector<std::function<void(const Change&)>> callbacks_;
  std::vector<std::function<void()>> synced_callbacks_;
};

/// Keeps `cache` up to date from the bus until the returned Feed is destroyed. An event without an object body (a
/// Secret's) becomes its metadata only.
std::unique_ptr<bus::Feed> attach(Loop& loop, bus::Bus& bus, bus::Commands& commands, Cache& cache, bus::Chain chain);

}  // namespace gantry::projection
