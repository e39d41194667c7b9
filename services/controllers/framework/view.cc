#include "services/controllers/framework/view.h"

#include <glog/logging.h>

#include "libs/model/schema.h"
#include "libs/model/workload.h"

namespace gantry::controllers {

std::string make_key(std::string_view ns, std::string_view name) {
  return ns.empty() ? std::string(name) : fmt::format("{}/{}", ns, name);
}

KeyParts split_key(std::string_view key) {
  size_t slash = key.find('/');
  if (slash == std::string_view::npos) return {"", std::string(key)};
  return {std::string(key.substr(0, slash)), std::string(key.substr(slash + 1))};
}

projection::Cache& View::need(std::string_view resource) {
  auto it = caches_.find(resource);
  if (it == caches_.end()) {
    const model::Kind* kind = model::Schema::get().by_resource(resource);
    CHECK(kind != nullptr) << "no such resource: " << resource;
    it = caches_.emplace(std::string(resource), std::make_unique<projection::Cache>(*kind)).first;
  }
  return *it->second;
}

void View::index(std::string_view resource, std::string_view name, projection::Cache::Indexer indexer) {
  if (indexes_.insert(fmt::format("{}/{}", resource, name)).second) {
    need(resource).add_index(std::string(name), std::move(indexer));
  }
}

void View::index_by_controller(std::string_view resource) {
  index(resource, kByController, [](const model::Object& o, std::vector<std::string>& values) {
    const auto* owner = model::controller_of(o.meta());
    values.push_back(owner != nullptr ? std::string(model::str(owner->uid())) : fmt::format("orphan:{}", o.ns()));
  });
}

const projection::Cache* View::find_cache(std::string_view resource) const {
  auto it = caches_.find(resource);
  return it == caches_.end() ? nullptr : it->second.get();
}

const projection::Cache& View::cache(std::string_view resource) const {
  const projection::Cache* cache = find_cache(resource);
  CHECK(cache != nullptr) << "the controller did not declare " << resource;
  return *cache;
}

const model::Object* View::find(std::string_view resource, std::string_view ns, std::string_view name) const {
  return cache(resource).find(ns, name);
}

const model::Object* View::find(std::string_view resource, std::string_view key) const {
  KeyParts parts = split_key(key);
  return find(resource, parts.ns, parts.name);
}

void View::each_by(std::string_view resource, std::string_view index, std::string_view value,
                   const std::function<void(const model::Object&)>& visit) const {
  cache(resource).for_each_by(index, value, visit);
}

namespace {

std::vector<model::Object> by_controller(const projection::Cache& cache, std::string_view value) {
  std::vector<model::Object> found;
  cache.for_each_by(View::kByController, value, [&](const model::Object& o) { found.push_back(o); });
  return found;
}

}  // namespace

std::vector<model::Object> View::controlled(std::string_view resource, std::string_view controller_uid) const {
  return by_controller(cache(resource), controller_uid);
}

std::vector<model::Object> View::orphans(std::string_view resource, std::string_view ns) const {
  return by_controller(cache(resource), fmt::format("orphan:{}", ns));
}

}  // namespace gantry::controllers
