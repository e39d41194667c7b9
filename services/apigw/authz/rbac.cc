#include "services/apigw/authz/rbac.h"

#include <fmt/format.h>

#include "libs/model/selector.h"

namespace gantry::apigw {
namespace {

using model::Object;
using model::str;
namespace rbac = api::rbac_v1;

// "U" user, "G" group. A ServiceAccount is the user of its name.
template <typename Subjects>
void index_subjects(const Subjects* subjects, std::string_view ns, std::vector<std::string>& values) {
  if (subjects == nullptr) return;
  for (const auto* subject : *subjects) {
    const std::string_view kind = str(subject->kind()), name = str(subject->name());
    if (kind == "User") values.push_back(fmt::format("{}/U{}", ns, name));
    if (kind == "Group") values.push_back(fmt::format("{}/G{}", ns, name));
    if (kind == "ServiceAccount") {
      const std::string_view account_ns = str(subject->namespace_()).empty() ? ns : str(subject->namespace_());
      values.push_back(fmt::format("{}/Usystem:serviceaccount:{}:{}", ns, account_ns, name));
    }
  }
  std::sort(values.begin(), values.end());
  values.erase(std::unique(values.begin(), values.end()), values.end());
}

std::string describe_subject(std::string_view subject) {
  constexpr std::string_view kAccount = "Usystem:serviceaccount:";
  if (subject.starts_with(kAccount)) {
    const std::string_view rest = subject.substr(kAccount.size());
    const size_t colon = rest.find(':');
    return fmt::format("ServiceAccount \"{}/{}\"", rest.substr(colon + 1), rest.substr(0, colon));
  }
  return fmt::format("{} \"{}\"", subject[0] == 'U' ? "User" : "Group", subject.substr(1));
}

}  // namespace

Rbac::Rbac(Caches caches) : caches_(caches) {
  caches_.role_bindings.add_index("subject", [](const Object& binding, std::vector<std::string>& values) {
    index_subjects(binding.as<rbac::RoleBinding>()->subjects(), binding.ns(), values);
  });
  caches_.cluster_role_bindings.add_index("subject", [](const Object& binding, std::vector<std::string>& values) {
    index_subjects(binding.as<rbac::ClusterRoleBinding>()->subjects(), "", values);
  });
  caches_.cluster_roles.on_change([this](const projection::Change&) { aggregated_.clear(); });
}

const std::vector<std::string>& Rbac::aggregated(const Object& role) const {
  const auto [found, fresh] = aggregated_.try_emplace(std::string(role.name()));
  auto& names = found->second;
  if (!fresh) return names;
  const auto* rule = role.as<rbac::ClusterRole>()->aggregation_rule();
  if (rule == nullptr || rule->cluster_role_selectors() == nullptr) return names;
  for (const auto* one : *rule->cluster_role_selectors()) {
    const auto selector = model::LabelSelector::from(one);
    if (!selector.ok()) continue;
    caches_.cluster_roles.for_each([&](const Object& other) {
      if (other.name() != role.name() && selector->matches(other.meta()->labels())) names.emplace_back(other.name());
    });
  }
  return names;
}

bool Rbac::visit_role(std::string_view ns, const rbac::RoleRef& role, const VisitRule& visit) const {
  return visit_role(ns, str(role.kind()), str(role.name()), visit);
}

bool Rbac::visit_role(std::string_view ns, std::string_view kind, std::string_view name, const VisitRule& visit) const {
  const auto each = [&](const auto* rules) {
    if (rules == nullptr) return true;
    for (const auto* rule : *rules) {
      if (!visit(*rule)) return false;
    }
    return true;
  };
  if (kind == "Role") {
    const Object* role = caches_.roles.find(ns, name);
    return role == nullptr || each(role->as<rbac::Role>()->rules());
  }
  // Aggregated roles may be aggregated themselves: view is part of edit, edit of admin.
  std::vector<std::string> open{std::string(name)}, seen = open;
  while (!open.empty()) {
    const std::string next = std::move(open.back());
    open.pop_back();
    const Object* role = caches_.cluster_roles.find("", next);
    if (role == nullptr) continue;
    // What an aggregated role has stored is a copy.
    if (role->as<rbac::ClusterRole>()->aggregation_rule() == nullptr && !each(role->as<rbac::ClusterRole>()->rules()))
      return false;
    for (const auto& part : aggregated(*role)) {
      if (std::find(seen.begin(), seen.end(), part) != seen.end()) continue;
      seen.push_back(part);
      open.push_back(part);
    }
  }
  return true;
}

bool Rbac::visit_bindings(const Identity& identity, std::string_view ns, const VisitBinding& visit) const {
  bool more = true;
  const auto look = [&](const std::string& subject) {
    if (more) {
      caches_.cluster_role_bindings.for_each_by("subject", "/" + subject, [&](const Object& binding) {
        const auto* role = binding.as<rbac::ClusterRoleBinding>()->role_ref();
        if (more && role != nullptr) more = visit(binding, subject, *role);
      });
    }
    if (more && !ns.empty()) {
      caches_.role_bindings.for_each_by("subject", fmt::format("{}/{}", ns, subject), [&](const Object& binding) {
        const auto* role = binding.as<rbac::RoleBinding>()->role_ref();
        if (more && role != nullptr) more = visit(binding, subject, *role);
      });
    }
  };
  look("U" + identity.user);
  for (const auto& group : identity.groups) look("G" + group);
  return more;
}

bool Rbac::allows(const Identity& identity, const Attributes& attributes, std::string* reason) const {
  const std::string group = group_of(attributes);
  return !visit_bindings(
      identity, attributes.ns, [&](const Object& binding, const std::string& subject, const rbac::RoleRef& role) {
        const bool none =
            visit_role(binding.ns(), role, [&](const StoredRule& rule) { return !matches(rule, attributes, group); });
        if (!none && reason != nullptr) {
          const std::string key =
              binding.ns().empty() ? std::string(binding.name()) : fmt::format("{}/{}", binding.name(), binding.ns());
          *reason = fmt::format("RBAC: allowed by {} \"{}\" of {} \"{}\" to {}", binding.kind().kind, key,
                                str(role.kind()), str(role.name()), describe_subject(subject));
        }
        return none;
      });
}

std::vector<Rule> Rbac::rules_of(const Identity& identity, std::string_view ns) const {
  std::vector<Rule> rules;
  visit_bindings(identity, ns, [&](const Object& binding, const std::string&, const rbac::RoleRef& role) {
    return visit_role(binding.ns(), role, [&](const StoredRule& rule) {
      rules.push_back(plain(rule));
      return true;
    });
  });
  return rules;
}

std::optional<std::vector<Rule>> Rbac::rules_of_role(std::string_view ns, std::string_view kind,
                                                     std::string_view name) const {
  const Object* role = kind == "Role" ? caches_.roles.find(ns, name) : caches_.cluster_roles.find("", name);
  if (role == nullptr) return std::nullopt;
  std::vector<Rule> rules;
  visit_role(ns, kind, name, [&](const StoredRule& rule) {
    rules.push_back(plain(rule));
    return true;
  });
  return rules;
}

}  // namespace gantry::apigw
