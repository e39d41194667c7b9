#include "services/apigw/authz/identity.h"

#include <algorithm>

namespace gantry::apigw {
namespace {

constexpr std::string_view kNodeUser = "system:node:";

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

Identity anonymous() { return {"system:anonymous", {"system:unauthenticated"}, {}}; }

Identity gateway() { return identity_of_user("system:apiserver", {"system:masters"}); }

}  // namespace gantry::apigw
