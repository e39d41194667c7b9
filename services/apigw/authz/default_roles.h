// The ClusterRoles and bindings that every cluster starts with, as Kubernetes 1.34 names them. What of them is missing
// in the cluster is put back at the start of a gateway, unless the object's annotation
// rbac.authorization.kubernetes.io/autoupdate says "false".
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "services/apigw/authz/rules.h"

namespace gantry::apigw {

struct DefaultRole {
  std::string resource, ns, name;  // clusterroles or roles
  std::vector<Rule> rules;
  std::string label;                 // aggregate-to-<label>
  std::vector<std::string> selects;  // aggregation: aggregate-to-<label>
};

struct DefaultBinding {
  std::string resource, ns, name;  // clusterrolebindings or rolebindings
  std::string role_kind, role;
  /// "User x", "Group x" or "ServiceAccount ns/name".
  std::vector<std::string> subjects;
};

const std::vector<DefaultRole>& default_roles();
const std::vector<DefaultBinding>& default_bindings();

nlohmann::json to_json(const Rule& rule);
nlohmann::json to_json(const DefaultRole& role);
nlohmann::json to_json(const DefaultBinding& binding);

inline constexpr const char* kAutoUpdate = "rbac.authorization.kubernetes.io/autoupdate";

}  // namespace gantry::apigw
