// The caches of one process, one a resource, shared by its controllers: what decisions read. Loop's thread only.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "libs/model/object.h"
#include "libs/projection/cache.h"

namespace gantry::controllers {

/// Keys of namespaced objects are "<namespace>/<name>", of others "<name>".
std::string make_key(std::string_view ns, std::string_view name);
inline std::string make_key(const model::Object& o) { return make_key(o.ns(), o.name()); }
struct KeyParts {
  std::string ns, name;
};
KeyParts split_key(std::string_view key);

class View {
 public:
  /// The cache of `resource`, made at the first call. An unknown resource is a programming error.
  projection::Cache& need(std::string_view resource);
  /// Adds the index once, whoever asks first.
  void index(std::string_view resource, std::string_view name, projection::Cache::Indexer indexer);
  /// By the controller's uid (`owner`) and, for what has no controller, by "orphan:<namespace>".
  static constexpr const char* kByController = "controller";
  void index_by_controller(std::string_view resource);

  const projection::Cache& cache(std::string_view resource) const;
  const projection::Cache* find_cache(std::string_view resource) const;
  const std::map<std::string, std::unique_ptr<projection::Cache>, std::less<>>& caches() const { return caches_; }

  const model::Object* find(std::string_view resource, std::string_view ns, std::string_view name) const;
  const model::Object* find(std::string_view resource, std::string_view key) const;
  void each_by(std::string_view resource, std::string_view index, std::string_view value,
               const std::function<void(const model::Object&)>& visit) const;
  /// Those owned by `controller_uid`, in the order of their keys.
  std::vector<model::Object> controlled(std::string_view resource, std::string_view controller_uid) const;
  /// Those of `ns` without a controller, in name order.
  std::vector<model::Object> orphans(std::string_view resource, std::string_view ns) const;

 private:
  std::map<std::string, std::unique_ptr<projection::Cache>, std::less<>> caches_;
  std::set<std::string> indexes_;  // "<resource>/<name>"
};

}  // namespace gantry::controllers
