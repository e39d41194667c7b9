#include "services/apigw/rest/subresources.h"

#include <algorithm>

namespace gantry::apigw {

bool Subresource::has_verb(std::string_view verb) const {
  return std::find(verbs.begin(), verbs.end(), verb) != verbs.end();
}

Subresource subresource_of(const model::Kind& kind, std::string_view name) {
  if (name == "scale") return {{"get", "patch", "update"}, "autoscaling", "v1", "Scale"};
  if (name == "binding") return {{"create"}, "", "v1", "Binding"};
  if (name == "eviction") return {{"create"}, "policy", "v1", "Eviction"};
  if (name == "token") return {{"create"}, "authentication.k8s.io", "v1", "TokenRequest"};
  if (name == "log") return {{"get"}, "", "v1", "Pod"};
  if (name == "exec") return {{"create", "get"}, "", "v1", "PodExecOptions"};
  if (name == "attach") return {{"create", "get"}, "", "v1", "PodAttachOptions"};
  if (name == "portforward") return {{"create", "get"}, "", "v1", "PodPortForwardOptions"};
  if (name == "proxy") return {{"create", "delete", "get", "patch", "update"}, "", "v1", kind.kind + "ProxyOptions"};
  if (name == "finalize") return {{"update"}, kind.group, kind.version, kind.kind};
  return {{"get", "patch", "update"}, kind.group, kind.version, kind.kind};  // status, approval, resize, ...
}

}  // namespace gantry::apigw
