// The roles of Kubernetes' own controllers, in the form of default_roles.cc: `controller NAME` is the ClusterRole
// system:controller:NAME, bound to the ServiceAccount NAME of kube-system. Nothing of Gantry uses them: charts and
// operators that bind to them, or run such a controller, find them.
#pragma once

namespace gantry::apigw {

extern const char* const kControllerRoles;

}  // namespace gantry::apigw
