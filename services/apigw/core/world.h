// All mirrors, and what the gateway asks of several kinds at once. Loop's thread only.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "services/apigw/authz/authz.h"
#include "services/apigw/authz/objects.h"
#include "services/apigw/authz/rbac.h"
#include "services/apigw/core/mirror.h"

namespace gantry::apigw {

class World final : public Facts, public Objects {
 public:
  World(Loop& loop, state::Store& store, size_t window);

  void start();
  bool synced() const;
  /// Null for a resource that is not stored.
  Mirror* find(std::string_view resource);
  const Mirror* find(std::string_view resource) const { return const_cast<World*>(this)->find(resource); }
  Mirror& pods() { return *pods_; }
  Mirror& namespaces() { return *namespaces_; }

  /// The nodes with a bound pod that refers to this ConfigMap, Secret or ServiceAccount; sorted, each once.
  std::vector<std::string> dependents(std::string_view resource, std::string_view ns, std::string_view name) const;
  /// The names of `resource` that pods bound to `node` refer to: "<namespace>/<name>", sorted, each once.
  std::vector<std::string> references(std::string_view node, std::string_view resource) const;

  std::string pod_node(std::string_view ns, std::string_view name) const override;
  bool refers(std::string_view node, std::string_view resource, std::string_view ns,
              std::string_view name) const override;
  bool granted(const Identity& identity, const Attributes& attributes, std::string* reason) const override {
    return rbac_->allows(identity, attributes, reason);
  }
  const Rbac& rbac() const { return *rbac_; }

  const model::Object* find_object(std::string_view resource, std::string_view ns,
                                   std::string_view name) const override {
    const Mirror* mirror = find(resource);
    return mirror == nullptr ? nullptr : mirror->find(ns, name);
  }
  void visit_objects(std::string_view resource, std::string_view ns,
                     const std::function<void(const model::Object&)>& visit) const override {
    if (const Mirror* mirror = find(resource)) mirror->cache().for_each_in(ns, visit);
  }
  void at_head_of(std::string_view resource, std::function<void(Status)> done) override {
    find(resource)->at_head(std::move(done));
  }
  /// The same for several resources. Errors of the first that fails.
  void at_heads_of(std::vector<std::string> resources, std::function<void(Status)> done);

 private:
  std::unordered_map<std::string, std::unique_ptr<Mirror>> mirrors_;
  Mirror* pods_ = nullptr;
  Mirror* namespaces_ = nullptr;
  std::unique_ptr<Rbac> rbac_;
};

/// Calls `visit(resource, name)` for each ConfigMap, Secret, ServiceAccount and claim of its namespace that a pod
/// refers to; a name may come more than once.
void visit_references(const model::Object& pod,
                      const std::function<void(std::string_view resource, std::string_view name)>& visit);

}  // namespace gantry::apigw
