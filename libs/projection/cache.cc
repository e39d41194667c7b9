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
  auto keys = index->keys.find(std::string(value));
  if (keys == index->keys.end()) return;
  for (const auto& key : keys->second) visit(objects_.find(key)->second);
}

void Cache::on_synced(std::function<void()> callback) {
  if (synced_) return callback();
  synced_callbacks_.push_back(std::move(callback));
}

void Cache::index(const model::Object& object, const std::string& key, bool add) {
  std::vector<std::string> values;
  for (auto& index : indexes_) {
    values.clear();
    index.indexer(object, values);
    for (auto& value : values) {
      if (add) {
        index.keys[value].insert(key);
      } else if (auto it = index.keys.find(value); it != index.keys.end()) {
        it->second.erase(key);
        if (it->second.empty()) index.keys.erase(it);
      }
    }
  }
}

void Cache::tell(const Change& change) {
  for (size_t i = 0; i < callbacks_.size(); ++i) callbacks_[i](change);
}

void Cache::reset(uint64_t revision, std::vector<model::Object> objects) {
  revision_ = revision;
  std::map<std::string, model::Object, std::less<>> fresh;
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
    index(it->second, it->first, false);
    changes.push_back({std::move(it->second), {}});
    it = objects_.erase(it);
  }
  for (auto& [key, object] : fresh) {
    auto& place = objects_[key];
    if (place && place.revision() == object.revision() && place.bytes() == object.bytes()) continue;
    if (place) index(place, key, false);
    changes.push_back({std::exchange(place, object), object});
    index(place, key, true);
  }
  for (const auto& change : changes) tell(change);
}

void Cache::put(model::Object object, uint64_t revision) {
  object = object.at(revision);
  revision_ = std::max(revision_, revision);
  auto key = key_of(object);
  auto& place = objects_[key];
  if (place) index(place, key, false);
  Change change{std::exchange(place, object), object};
  index(place, key, true);
  tell(change);
}

void Cache::remove(std::string_view ns, std::string_view name, uint64_t revision) {
  revision_ = std::max(revision_, revision);
  auto it = objects_.find(key_of(ns, name));
  if (it == objects_.end()) return;
  index(it->second, it->first, false);
  Change change{std::move(it->second), {}};
  objects_.erase(it);
  tell(change);
}

void Cache::mark_synced() {
  if (std::exchange(synced_, true)) return;
  for (auto& callback : std::exchange(synced_callbacks_, {})) callback();
}

}  // namespace gantry::projection
