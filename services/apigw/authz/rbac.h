// Role-based access: who is granted what by Roles, ClusterRoles and their bindings, evaluated straight on the
// projection. Bindings are found by an index of their subjects; an aggregated ClusterRole also has the rules of every
// ClusterRole that its selectors match. Loop's thread only.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "libs/projection/cache.h"
#include "services/apigw/authz/rules.h"

namespace gantry::apigw {

class Rbac {
 public:
  struct Caches {
    projection::Cache &roles, &cluster_roles, &role_bindings, &cluster_role_bindings;
  };
  /// Adds its indexes: before the first object comes. The caches outlive it.
  explicit Rbac(Caches caches);

  /// True if a rule grants it; then `reason` says which binding, in the API server's words.
  bool allows(const Identity& identity, const Attributes& attributes, std::string* reason = nullptr) const;

  /// Every rule that the identity has at the cluster scope, and in `ns` unless that is empty.
  std::vector<Rule> rules_of(const Identity& identity, std::string_view ns) const;
  /// The rules of a role, aggregated ones included; nullopt when there is no such role. `ns` is of the binding.
  std::optional<std::vector<Rule>> rules_of_role(std::string_view ns, std::string_view kind,
                                                 std::string_view name) const;

 private:
  using VisitRule = std::function<bool(const StoredRule&)>;  // false: enough
  using VisitBinding = std::function<bool(const model::Object& binding, const std::string& subject,
                                          const api::rbac_v1::RoleRef& role)>;  // false: enough
  bool visit_bindings(const Identity& identity, std::string_view ns, const VisitBinding& visit) const;
  bool visit_role(std::string_view ns, const api::rbac_v1::RoleRef& role, const VisitRule& visit) const;
  bool visit_role(std::string_view ns, std::string_view kind, std::string_view name, const VisitRule& visit) const;
  const std::vector<std::string>& aggregated(const model::Object& cluster_role) const;

  Caches caches_;
  mutable std::unordered_map<std::string, std::vector<std::string>> aggregated_;  // until a ClusterRole changes
};

}  // namespace gantry::apigw
