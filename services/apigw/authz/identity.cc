#include "services/apigw/authz/identity.h"

#include <algorithm>

namespace gantry::apigw {
namespace {

constexpr std::string_view kNodeUser = "system:node:", kAccountUser = "system:serviceaccount:";

}  // namespace

bool Identity::in_group(std::string_view group) const {
  return std::find(groups.begin(), groups.end(), group) != groups.end();
}

Identity identity_of_user(std::string user, std::vector<std::string> groups) {
  Identity identity{std::move(user), std::move(groups), {}};
  if (!identity.in_group("system:authenticated")) identity.groups.emplace_back("system:authenticated");
  if (identity.user.starts_with(kNodeUser) && identity.in_group("system:nodes"))
    identity.node = identity.user.substr(kNodeUser.size());
  return identity;
}

Identity identity_of_bus(std::string_view name) {
  const auto after = [&](std::string_view prefix) { return std::string(name.substr(prefix.size())); };
  if (name == "apigw") return gateway();
  if (name == "admin") return identity_of_user("kubernetes-admin", {"system:masters"});
  if (name == "controllers" || name == "scheduler" || name == "hollow")
    return identity_of_user("system:gantry:" + std::string(name), {});
  if (name.starts_with("node-")) return identity_of_user(std::string(kNodeUser) + after("node-"), {"system:nodes"});
  if (name.starts_with("netproxy-")) return identity_of_user("system:gantry:netproxy:" + after("netproxy-"), {});
  return identity_of_user(std::string(name), {});
}

Identity identity_of_service_account(std::string_view ns, std::string_view name, std::string uid) {
  Identity identity = identity_of_user(std::string(kAccountUser).append(ns).append(":").append(name),
                                       {"system:serviceaccounts", "system:serviceaccounts:" + std::string(ns)});
  identity.uid = std::move(uid);
  return identity;
}

std::optional<std::pair<std::string, std::string>> service_account_of(std::string_view user) {
  if (!user.starts_with(kAccountUser)) return std::nullopt;
  const std::string_view rest = user.substr(kAccountUser.size());
  const size_t colon = rest.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == rest.size() ||
      rest.find(':', colon + 1) != std::string_view::npos) {
    return std::nullopt;
  }
  return std::pair(std::string(rest.substr(0, colon)), std::string(rest.substr(colon + 1)));
}

Identity anonymous() { return {"system:anonymous", {"system:unauthenticated"}, {}}; }

Identity gateway() { return identity_of_user("system:apiserver", {"system:masters"}); }

}  // namespace gantry::apigw
