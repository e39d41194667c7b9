#include "libs/projection/cache.h"

#include <glog/logging.h>

namespace gantry::projection {
namespace {

std::string key_of(std::string_view ns, std::string_view name) {
  std::string key;
  key.reserve(ns.size() + 1 + name.size());
  key.append(ns).append("/").append(name);
  return key;
}

}  // namespace

const model::Object* Cache::find(std::string_view ns, std::string_view name) const {
  auto it = objects_.find(key_of(ns, name));
  return it == objects_.end() ? nullptr : &it->second;
}

void Cache::for_each(const std::function<void(const model::Object&)>& visit) const {
  for (const auto& [key, object] : objects_) visit(object);
}

void Cache::for_each_in(std::string_view ns, const std::function<void(const model::Object&)>& visit) const {
  std::string prefix = key_of(ns, "");
  for (auto it = objects_.lower_bound(prefix); it != objects_.end() && it->first.starts_with(prefix); ++it)
    visit(it->second);
}

void Cache::add_index(std::string name, Indexer indexer) {
  CHECK(objects_.empty()) << "index " << name << " comes after the first object";
  indexes_.push_back({std::move(name), std::move(indexer), {}});
}

void Cache::for_each_by(std::string_view name, std::string_view value,
                        const std::function<void(const model::Object&)>& visit) const {
  for (const auto& index : indexes_) {
    if (index.name != name) continue;
    auto it = index.keys.find(std::string(value));
    if (it == index.keys.end()) return;
    for (const auto& key : it->second) visit(objects_.find(key)->second);
    return;
  }
  LOG(FATAL) << kind_->resource << " has no index " << name;
}

void Cache::on_synced(std::function<void()> callback) { synced_callbacks_.push_back(std::move(callback)); }

void Cache::index(const model::Object& object, const std::string& key, bool add) {
  std::vector<std::string> values;
  for (auto& index : indexes_) {
    values.clear();
    index.indexer(object, values);
    for (const auto& value : values) {
      if (add) {
        index.keys[value].insert(key);
        continue;
      }
      auto it = index.keys.find(value);
      if (it == index.keys.end()) continue;
      it->second.erase(key);
      if (it->second.empty()) index.keys.erase(it);
    }
  }
}

void Cache::put(model::Object object, uint64_t revision) {
  std::string key = key_of(object.ns(), object.name());
  Change change;
  change.after = object;
  auto [it, fresh] = objects_.try_emplace(key, object);
  if (!fresh) {
    change.before = std::exchange(it->second, std::move(object));
    index(change.before, key, false);
  }
  index(change.after, key, true);
  revision_ = std::max(revision_, revision);
  for (const auto& callback : callbacks_) callback(change);
}

void Cache::remove(std::string_view ns, std::string_view name, uint64_t revision) {
  revision_ = std::max(revision_, revision);
  auto it = objects_.find(key_of(ns, name));
  if (it == objects_.end()) return;
  Change change;
  change.before = std::move(it->second);
  index(change.before, it->first, false);
  objects_.erase(it);
  for (const auto& callback : callbacks_) callback(change);
}

void Cache::reset(uint64_t revision, std::vector<model::Object> objects) {
  std::map<std::string, model::Object> incoming;
  for (auto& object : objects) {
    auto key = key_of(object.ns(), object.name());
    incoming[std::move(key)] = std::move(object);
  }
  std::vector<model::Object> gone;
  for (const auto& [key, object] : objects_) {
    if (!incoming.contains(key)) gone.push_back(object);
  }
  for (const auto& object : gone) remove(object.ns(), object.name(), 0);
  for (auto& [key, object] : incoming) {
    auto it = objects_.find(key);
    bool same = it != objects_.end() && it->second.revision() == object.revision() && object.revision() != 0;
    if (!same) put(std::move(object), 0);
  }
  revision_ = revision;  // also downwards: a snapshot is the truth, whatever was believed before
}

void Cache::mark_synced() {
  if (std::exchange(synced_, true)) return;
  for (const auto& callback : synced_callbacks_) callback();
}

}  // namespace gantry::projection
