// Who asks: a user with groups, as the Kubernetes API knows them. HTTP gets it from client certificates, the bus from
// the subject's token.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace gantry::apigw {

struct Identity {
  std::string user;
  std::vector<std::string> groups;
  std::string node;  // the node's name if this is a node agent, else ""
  std::string uid = {};
  std::map<std::string, std::vector<std::string>> extra = {};

  bool in_group(std::string_view group) const;
};

/// From a verified user name and groups (a client certificate's CN and O). Adds system:authenticated and finds the node
/// of system:node:<name>.
Identity identity_of_user(std::string user, std::vector<std::string> groups);
/// From an identity's name on the bus (gantry.cmd.<identity>.*, already decoded): apigw, controllers, scheduler,
/// node-<name>, netproxy-<name>, hollow, admin. Any other name becomes a user of that name without groups.
Identity identity_of_bus(std::string_view name);
/// system:serviceaccount:<ns>:<name> with the groups of every ServiceAccount.
Identity identity_of_service_account(std::string_view ns, std::string_view name, std::string uid);
/// The namespace and name in system:serviceaccount:<ns>:<name>; nullopt for any other user.
std::optional<std::pair<std::string, std::string>> service_account_of(std::string_view user);
/// system:anonymous.
Identity anonymous();
/// apigw itself, for what it creates at start.
Identity gateway();

}  // namespace gantry::apigw
