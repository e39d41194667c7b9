#include "libs/projection/cache.h"

namespace gantry::projection {
namespace {

std::string key_of(std::string_view ns, std::string_view name) {
  std::string key;
  key.reserve(ns.size() + name.size() + 1);
  key.append(ns).append("/").append(name);
  return key;
}

std::string key_of(const model::Object& object) { return key_of(object.ns(), object.name()); }

}  // namespace

const model::Object* Cache::find(std::string_view ns, std::string_view name) const {
  auto it = objects_.find(key_of(ns, name));
  return it == objects_.end() ? nullptr : &it->second;
}

void Cache::for_each(const std::function<void(const model::Object&)>& visit) const {
  for (const auto& [key, object] : objects_) visit(object);
}

void Cache::for_each_in(std::string_view ns, const std::function<void(const model::Object&)>& visit) const {
  auto prefix = key_of(ns, "");
  for (auto it = objects_.lower_bound(prefix); it != objects_.end() && it->first.starts_with(prefix); ++it)
    visit(it->second);
}

void Cache::for_each_after(std::string_view ns, std::string_view after,
                           const std::function<bool(const std::string&, const model::Object&)>& visit) const {
  const auto prefix = ns.empty() ? std::string() : key_of(ns, "");
  auto it = after < prefix ? objects_.lower_bound(prefix) : objects_.upper_bound(after);
  for (; it != objects_.end() && it->first.starts_with(prefix); ++it) {
    if (!visit(it->first, it->second)) return;
  }
}

void Cache::add_index(std::string name, Indexer indexer) {
  CHECK(objects_.empty()) << "index " << name << " comes after the first object";
  indexes_.push_back({std::move(name), std::move(indexer), {}});
}

void Cache::for_each_by(std::string_view name, std::string_view value,
                        const std::function<void(const model::Object&)>& visit) const {
  auto index = std::find_if(indexes_.begin(), indexes_.end(), [&](const auto& i) { return i.name == name; });
  CHECK(index != indexes_.end()) << "no index " << name;
  auto found = index->entries.find(std::string(value));
  if (found == index->entries.end()) return;
  for (const auto* entry : found->second) visit(entry->second);
}

void Cache::on_synced(std::function<void()> callback) {
  if (synced_) return callback();
  synced_callbacks_.push_back(std::move(callback));
}

void Cache::index(const Objects::value_type& entry, const model::Object& before, const model::Object& after) {
  std::vector<std::string> old, now;
  for (auto& index : indexes_) {
    old.clear(), now.clear();
    if (before) index.indexer(before, old);
    if (after) index.indexer(after, now);
    if (old == now) continue;  // as most changes leave it
    for (const auto& value : old) {
      auto it = index.entries.find(value);
      if (it == index.entries.end()) continue;
      it->second.erase(&entry);
      if (it->second.empty()) index.entries.erase(it);
    }
    for (auto& value : now) index.entries[std::move(value)].insert(&entry);
  }
}

void Cache::tell(const Change& change) {
  for (size_t i = 0; i < callbacks_.size(); ++i) callbacks_[i](change);
}

void Cache::reset(uint64_t revision, std::vector<model::Object> objects) {
  revision_ = revision;
  Objects fresh;
  for (auto& object : objects) {
    auto key = key_of(object);
    fresh.insert_or_assign(std::move(key), std::move(object));
  }
  std::vector<Change> changes;
  for (auto it = objects_.begin(); it != objects_.end();) {
    if (fresh.contains(it->first)) {
      ++it;
      continue;
    }
    index(*it, it->second, {});
    changes.push_back({std::move(it->second), {}});
    it = objects_.erase(it);
  }
  for (auto& [key, object] : fresh) {
    auto& entry = *objects_.try_emplace(key).first;
    auto& place = entry.second;
    if (place && place.revision() == object.revision() && place.bytes() == object.bytes()) continue;
    index(entry, place, object);
    changes.push_back({std::exchange(place, object), object});
  }
  for (const auto& change : changes) tell(change);
}

void Cache::put(model::Object object, uint64_t revision) {
  object = object.at(revision);
  revision_ = std::max(revision_, revision);
  auto& entry = *objects_.try_emplace(key_of(object)).first;
  index(entry, entry.second, object);
  Change change{std::exchange(entry.second, object), object};
  tell(change);
}

void Cache::remove(std::string_view ns, std::string_view name, uint64_t revision) {
  revision_ = std::max(revision_, revision);
  auto it = objects_.find(key_of(ns, name));
  if (it == objects_.end()) return;
  index(*it, it->second, {});
  Change change{std::move(it->second), {}};
  objects_.erase(it);
  tell(change);
}

void Cache::mark_synced() {
  if (std::exchange(synced_, true)) return;
  for (auto& callback : std::exchange(synced_callbacks_, {})) callback();
}

}  // namespace gantry::projection
