// Nobody grants what he does not have: the checks on writing roles and bindings. Loop's thread only.
#pragma once

#include "services/apigw/authz/rbac.h"

namespace gantry::apigw {

/// A Role or ClusterRole that is to be stored: every rule must be held by the identity already, unless it may
/// `escalate`. `before` is empty for a new one; rules that stay as they were are not asked about. kForbidden.
Status check_role(const Identity& identity, const model::Object& after, const model::Object& before, const Rbac& rbac,
                  const Facts& facts);
/// A RoleBinding or ClusterRoleBinding: the same for the rules of its role, unless the identity may `bind` that role.
Status check_binding(const Identity& identity, const model::Object& after, const model::Object& before,
                     const Rbac& rbac, const Facts& facts);

}  // namespace gantry::apigw
