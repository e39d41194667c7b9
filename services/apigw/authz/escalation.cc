#include "services/apigw/authz/escalation.h"

#include <fmt/format.h>

#include "libs/model/draft.h"

namespace gantry::apigw {
namespace {

using model::Object;
using model::str;
namespace rbac_v1 = api::rbac_v1;

constexpr const char* kGroup = "rbac.authorization.k8s.io";

Attributes asking(std::string verb, std::string resource, std::string_view ns, std::string_view name) {
  Attributes a;
  a.verb = std::move(verb);
  a.resource = std::move(resource);
  a.ns = ns;
  a.name = name;
  a.group = kGroup;
  return a;
}

bool same_field(const Object& a, const Object& b, const char* field) {
  model::Draft draft(a);
  draft.copy_field("", field, b.root());
  return model::equal(*a.kind().type, draft.build().root(), a.root());
}

Status check_rules(const Identity& identity, const Object& object, const std::vector<Rule>& wanted, const Rbac& rbac) {
  const auto missing = uncovered(rbac.rules_of(identity, object.ns()), wanted);
  if (missing.empty()) return Done{};
  std::string groups, rules;
  for (const auto& group : identity.groups) groups += fmt::format("{}\"{}\"", groups.empty() ? "" : " ", group);
  for (const auto& rule : missing) rules += "\n" + rule.print();
  const auto& kind = object.kind();
  Error error{
      Code::kForbidden,
      fmt::format("{}.{} \"{}\" is forbidden: user \"{}\" (groups=[{}]) is attempting to grant RBAC permissions "
                  "not currently held:{}",
                  kind.resource, kind.group, object.name(), identity.user, groups, rules)};
  error.group = kind.group;
  error.kind = kind.resource;
  error.name = object.name();
  return error;
}

template <typename Rules>
std::vector<Rule> rules_in(const Rules* rules) {
  std::vector<Rule> out;
  if (rules == nullptr) return out;
  for (const auto* rule : *rules) out.push_back(plain(*rule));
  return out;
}

}  // namespace

Status check_role(const Identity& identity, const Object& after, const Object& before, const Rbac& rbac,
                  const Facts& facts) {
  if (identity.in_group("system:masters")) return Done{};
  const bool cluster = after.kind().resource == "clusterroles";
  if (before && same_field(after, before, "rules") && (!cluster || same_field(after, before, "aggregationRule")))
    return Done{};
  if (allowed(identity, asking("escalate", after.kind().resource, after.ns(), after.name()), facts)) return Done{};
  auto wanted = rules_in(cluster ? after.as<rbac_v1::ClusterRole>()->rules() : after.as<rbac_v1::Role>()->rules());
  // What an aggregated role will have is up to whoever labels other roles.
  if (cluster && after.as<rbac_v1::ClusterRole>()->aggregation_rule() != nullptr) {
    wanted.push_back({{"*"}, {"*"}, {"*"}, {}, {}});
    wanted.push_back({{"*"}, {}, {}, {}, {"*"}});
  }
  return check_rules(identity, after, wanted, rbac);
}

Status check_binding(const Identity& identity, const Object& after, const Object& before, const Rbac& rbac,
                     const Facts& facts) {
  if (identity.in_group("system:masters")) return Done{};
  if (before && same_field(after, before, "subjects") && same_field(after, before, "roleRef")) return Done{};
  const bool cluster = after.kind().resource == "clusterrolebindings";
  const auto* role =
      cluster ? after.as<rbac_v1::ClusterRoleBinding>()->role_ref() : after.as<rbac_v1::RoleBinding>()->role_ref();
  if (role == nullptr) return Done{};  // validation says so
  const std::string_view kind = str(role->kind()), name = str(role->name());
  const char* resource = kind == "Role" ? "roles" : "clusterroles";
  if (allowed(identity, asking("bind", resource, after.ns(), name), facts)) return Done{};
  const auto wanted = rbac.rules_of_role(after.ns(), kind, name);
  if (!wanted) {
    Error error{Code::kNotFound, fmt::format("{}.{} \"{}\" not found", resource, kGroup, name)};
    error.group = kGroup;
    error.kind = resource;
    error.name = name;
    return error;
  }
  return check_rules(identity, after, *wanted, rbac);
}

}  // namespace gantry::apigw
