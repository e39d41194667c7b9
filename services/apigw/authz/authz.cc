#include "services/apigw/authz/authz.h"

#include <fmt/format.h>

#include <algorithm>
#include <initializer_list>

namespace gantry::apigw {
namespace {

bool any_of(std::string_view value, std::initializer_list<std::string_view> values) {
  return std::find(values.begin(), values.end(), value) != values.end();
}

bool reads(const Attributes& a) { return any_of(a.verb, {"get", "list", "watch"}); }
bool writes(const Attributes& a) { return any_of(a.verb, {"create", "update", "patch"}); }
bool reports_events(const Attributes& a) {
  return a.resource == "events" && any_of(a.verb, {"create", "patch", "update"});
}
bool holds_leases(const Attributes& a, std::string_view ns) {
  return a.resource == "leases" && a.ns == ns && (reads(a) || writes(a));
}

bool node_may(const std::string& node, const Attributes& a, const Facts& facts) {
  if (a.resource == "nodes") {
    if (a.verb == "create") return a.name.empty() || a.name == node;
    if (any_of(a.verb, {"list", "watch"})) return a.node == node || a.name == node;
    return a.name == node && any_of(a.verb, {"get", "update", "patch"});
  }
  if (a.resource == "pods") {
    if (any_of(a.verb, {"list", "watch"})) return a.node == node;
    if (a.verb == "create" && a.subresource.empty()) return true;  // mirrors of its own pods: see admission
    if (facts.pod_node(a.ns, a.name) != node) return false;
    return any_of(a.verb, {"get", "delete"}) || (a.verb == "create" && a.subresource == "eviction") ||
           (a.subresource == "status" && any_of(a.verb, {"update", "patch"}));
  }
  if (a.resource == "serviceaccounts" && a.subresource == "token")
    return a.verb == "create" && facts.refers(node, a.resource, a.ns, a.name);
  if (any_of(a.resource, {"configmaps", "secrets", "serviceaccounts"})) {
    if (any_of(a.verb, {"list", "watch"})) return a.node == node && a.metadata_only;
    return a.verb == "get" && facts.refers(node, a.resource, a.ns, a.name);
  }
  if (a.resource == "leases") {
    return a.ns == "kube-node-lease" && (a.verb == "create" ? a.name.empty() || a.name == node : a.name == node) &&
           any_of(a.verb, {"get", "create", "update", "patch"});
  }
  if (a.resource == "persistentvolumeclaims" && any_of(a.verb, {"list", "watch"}))
    return a.node == node && a.metadata_only;
  if (a.resource == "persistentvolumeclaims")
    return facts.refers(node, a.resource, a.ns, a.name) &&
           (a.verb == "get" || (a.subresource == "status" && any_of(a.verb, {"update", "patch"})));
  if (any_of(a.resource, {"persistentvolumes", "volumeattachments"}))
    return a.verb == "get" && facts.refers(node, a.resource, a.ns, a.name);
  // What its drivers announce, and what its pods' claims were given.
  if (a.resource == "resourceslices") {
    if (any_of(a.verb, {"list", "watch", "deletecollection"})) return a.node == node;
    return a.verb == "create" ||
           (any_of(a.verb, {"get", "update", "patch", "delete"}) && facts.refers(node, a.resource, a.ns, a.name));
  }
  if (a.resource == "resourceclaims")
    return (a.verb == "get" || (a.subresource == "status" && any_of(a.verb, {"update", "patch"}))) &&
           facts.refers(node, a.resource, a.ns, a.name);
  if (a.resource == "csinodes") {
    if (a.verb == "create") return a.name.empty() || a.name == node;
    return a.name == node && any_of(a.verb, {"get", "update", "patch", "delete"});
  }
  if (a.resource == "certificatesigningrequests") return a.subresource.empty() && (a.verb == "create" || reads(a));
  if (any_of(a.resource, {"tokenreviews", "subjectaccessreviews", "localsubjectaccessreviews"}))
    return a.verb == "create";
  // A pod's environment names the Services of its namespace.
  return reports_events(a) || (any_of(a.resource, {"services", "csidrivers", "runtimeclasses"}) && reads(a));
}

// One identity for all hollow nodes: whichever of them the request is about.
bool hollow_may(const Attributes& a, const Facts& facts) {
  std::string node = !a.node.empty() ? a.node : a.resource == "pods" ? facts.pod_node(a.ns, a.name) : a.name;
  return reports_events(a) || (node.starts_with("hollow-") && node_may(node, a, facts));
}

bool controllers_may(const Attributes& a) {
  // Owner references and finalizers, of whatever kind.
  if (a.verb == "patch" && a.subresource.empty()) return true;
  if (a.verb == "escalate") return a.resource == "clusterroles";  // the rules of aggregated roles
  if (a.resource == "secrets") return any_of(a.verb, {"delete", "deletecollection"}) || (reads(a) && a.metadata_only);
  // Certificates of nodes approve themselves; who may have one is asked.
  if (a.resource == "signers")
    return (a.verb == "approve" && a.name == "kubernetes.io/kube-apiserver-client-kubelet") ||
           (a.verb == "sign" && any_of(a.name, {"kubernetes.io/kube-apiserver-client", "kubernetes.io/kubelet-serving",
                                                "kubernetes.io/kube-apiserver-client-kubelet"}));
  if (a.resource == "subjectaccessreviews") return a.verb == "create";
  if (a.resource == "certificatesigningrequests" && any_of(a.subresource, {"approval", "status"})) return writes(a);
  if (reads(a) || any_of(a.verb, {"delete", "deletecollection"})) return true;
  return writes(a) && any_of(a.resource, {"pods",
                                          "replicasets",
                                          "deployments",
                                          "endpoints",
                                          "endpointslices",
                                          "namespaces",
                                          "nodes",
                                          "services",
                                          "serviceaccounts",
                                          "configmaps",
                                          "events",
                                          "leases",
                                          "jobs",
                                          "cronjobs",
                                          "statefulsets",
                                          "daemonsets",
                                          "controllerrevisions",
                                          "replicationcontrollers",
                                          "persistentvolumeclaims",
                                          "persistentvolumes",
                                          "horizontalpodautoscalers",
                                          "poddisruptionbudgets",
                                          "resourcequotas"});
}

bool scheduler_may(const Attributes& a) {
  if (reads(a))
    return any_of(a.resource,
                  {"pods", "nodes", "namespaces", "services", "replicasets", "deployments", "persistentvolumeclaims",
                   "persistentvolumes", "storageclasses", "csinodes", "poddisruptionbudgets"}) ||
           holds_leases(a, "kube-system");
  // The node that a claim's volume is to be made for.
  if (a.resource == "persistentvolumeclaims") return a.verb == "patch" && a.subresource.empty();
  if (a.resource == "pods") {
    return (a.verb == "create" && any_of(a.subresource, {"binding", "eviction"})) ||
           (a.verb == "delete" && a.subresource.empty()) ||
           (a.subresource == "status" && any_of(a.verb, {"update", "patch"}));
  }
  return reports_events(a) || holds_leases(a, "kube-system");
}

bool netproxy_may(const Attributes& a) {
  if (reads(a))
    return any_of(a.resource,
                  {"services", "endpoints", "endpointslices", "nodes", "namespaces", "networkpolicies", "pods"});
  return reports_events(a);
}

bool service_may(const Identity& identity, const Attributes& a, const Facts& facts) {
  if (!a.path.empty()) return false;
  if (!identity.node.empty()) return node_may(identity.node, a, facts);
  if (identity.user == "system:gantry:controllers") return controllers_may(a);
  if (identity.user == "system:gantry:scheduler") return scheduler_may(a);
  if (identity.user == "system:gantry:hollow") return hollow_may(a, facts);
  return identity.user.starts_with("system:gantry:netproxy:") && netproxy_may(a);
}

}  // namespace

std::string group_of(const Attributes& attributes) {
  if (attributes.group) return *attributes.group;
  const model::Kind* kind = model::Schema::get().by_resource(attributes.resource);
  return kind == nullptr ? std::string() : kind->group;
}

bool allowed(const Identity& identity, const Attributes& a, const Facts& facts, std::string* reason) {
  if (identity.in_group("system:masters")) return true;
  return service_may(identity, a, facts) || facts.granted(identity, a, reason);
}

Status authorize(const Identity& identity, const Attributes& a, const Facts& facts) {
  if (allowed(identity, a, facts)) return Done{};
  if (!a.path.empty()) {
    return Error{Code::kForbidden,
                 fmt::format("forbidden: User \"{}\" cannot {} path \"{}\"", identity.user, a.verb, a.path)};
  }
  const std::string group = group_of(a);
  const std::string resource = a.subresource.empty() ? a.resource : a.resource + "/" + a.subresource;
  std::string message = group.empty() ? a.resource : a.resource + "." + group;
  if (!a.name.empty()) message += fmt::format(" \"{}\"", a.name);
  message += fmt::format(" is forbidden: User \"{}\" cannot {} resource \"{}\" in API group \"{}\"", identity.user,
                         a.verb, resource, group);
  if (!a.ns.empty()) {
    message += fmt::format(" in the namespace \"{}\"", a.ns);
  } else {
    message += " at the cluster scope";
  }
  Error error{Code::kForbidden, std::move(message)};
  error.group = group;
  error.kind = a.resource;
  error.name = a.name;
  return error;
}

}  // namespace gantry::apigw
