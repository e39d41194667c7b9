#include "services/apigw/authz/default_roles.h"

#include <nlohmann/json.hpp>
#include <sstream>

#include "services/apigw/authz/controller_roles.h"

namespace gantry::apigw {
namespace {

// A line: `role NAME`, `label X` (it is part of the aggregated role X), `selects X`, or a rule:
// `verbs | group | resources [| names]`, where core is the group without a name, or `verbs | path | paths`.
// Verbs: R = get list watch, W = create delete deletecollection patch update. A line `E`: to tell Events.
// A role of a namespace begins with `in NAMESPACE NAME`.
constexpr const char* kRoles = R"(
role cluster-admin
* | * | *
* | path | *

role system:discovery
get | path | /livez /readyz /healthz /version /version/ /openapi /openapi/* /api /api/* /apis /apis/*
role system:monitoring
get | path | /metrics /metrics/slis /livez /readyz /healthz /livez/* /readyz/* /healthz/*
role system:basic-user
create | authorization.k8s.io | selfsubjectaccessreviews selfsubjectrulesreviews
create | authentication.k8s.io | selfsubjectreviews
role system:public-info-viewer
get | path | /livez /readyz /healthz /version /version/

role admin
selects admin
role edit
label admin
selects edit
role view
label edit
selects view

role system:aggregate-to-admin
label admin
create | authorization.k8s.io | localsubjectaccessreviews
R W | rbac.authorization.k8s.io | roles rolebindings

role system:aggregate-to-edit
label edit
R | core | pods/attach pods/proxy pods/exec pods/portforward secrets services/proxy
impersonate | core | serviceaccounts
W | core | pods pods/attach pods/proxy pods/exec pods/portforward
create | core | pods/eviction
W | core | replicationcontrollers replicationcontrollers/scale serviceaccounts services services/proxy persistentvolumeclaims configmaps secrets events
create | core | serviceaccounts/token
W | apps | statefulsets statefulsets/scale daemonsets deployments deployments/scale deployments/rollback replicasets replicasets/scale
W | autoscaling | horizontalpodautoscalers
W | batch | jobs cronjobs
W | policy | poddisruptionbudgets
W | networking.k8s.io | networkpolicies ingresses
R W | coordination.k8s.io | leases
W | resource.k8s.io | resourceclaims resourceclaimtemplates

role system:aggregate-to-view
label view
R | core | pods replicationcontrollers replicationcontrollers/scale serviceaccounts services endpoints persistentvolumeclaims persistentvolumeclaims/status configmaps services/status
R | core | limitranges resourcequotas bindings events pods/status resourcequotas/status namespaces/status replicationcontrollers/status pods/log
R | core | namespaces
R | discovery.k8s.io | endpointslices
R | apps | controllerrevisions statefulsets statefulsets/status statefulsets/scale daemonsets daemonsets/status deployments deployments/status deployments/scale replicasets replicasets/status replicasets/scale
R | autoscaling | horizontalpodautoscalers horizontalpodautoscalers/status
R | batch | jobs cronjobs cronjobs/status jobs/status
R | policy | poddisruptionbudgets poddisruptionbudgets/status
R | networking.k8s.io | networkpolicies ingresses ingresses/status
R | resource.k8s.io | resourceclaims resourceclaims/status resourceclaimtemplates
R | metrics.k8s.io | pods nodes

role system:node
create | authentication.k8s.io | tokenreviews
create | authorization.k8s.io | subjectaccessreviews localsubjectaccessreviews
R | core | services
create get list watch | core | nodes
patch update | core | nodes nodes/status
create patch update | core | events
R | core | pods
create delete | core | pods
patch update | core | pods/status
create | core | pods/eviction
R | core | secrets configmaps
get | core | persistentvolumeclaims persistentvolumes
get | core | endpoints
create get list watch | certificates.k8s.io | certificatesigningrequests
create delete get patch update | coordination.k8s.io | leases
get | storage.k8s.io | volumeattachments
create | core | serviceaccounts/token
get | core | serviceaccounts
get patch update | core | persistentvolumeclaims/status
R | storage.k8s.io | csidrivers
create delete get patch update | storage.k8s.io | csinodes
R | node.k8s.io | runtimeclasses
get | resource.k8s.io | resourceclaims
R W | resource.k8s.io | resourceslices

role system:node-problem-detector
get | core | nodes
patch | core | nodes/status
create patch update | core | events
create patch update | events.k8s.io | events
role system:node-proxier
list watch | core | services endpoints
R | core | nodes
create patch update | core | events
create patch update | events.k8s.io | events
list watch | discovery.k8s.io | endpointslices
list watch | networking.k8s.io | servicecidrs
role system:kubelet-api-admin
R | core | nodes
proxy | core | nodes
* | core | nodes/proxy nodes/metrics nodes/stats nodes/log nodes/checkpoint nodes/configz nodes/healthz nodes/pods
role system:node-bootstrapper
create R | certificates.k8s.io | certificatesigningrequests
role system:auth-delegator
create | authentication.k8s.io | tokenreviews
create | authorization.k8s.io | subjectaccessreviews
role system:kube-aggregator
R | core | services endpoints
R | discovery.k8s.io | endpointslices
role system:kube-dns
list watch | core | endpoints services
role system:persistent-volume-provisioner
create delete R | core | persistentvolumes
R update | core | persistentvolumeclaims
R | storage.k8s.io | storageclasses
watch create update patch list | core | events
role system:volume-scheduler
R patch update | core | persistentvolumes
R | storage.k8s.io | storageclasses
R patch update | core | persistentvolumeclaims
role system:service-account-issuer-discovery
get | path | /.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/

role system:kube-controller-manager
create patch update | core | events
create patch update | events.k8s.io | events
create get update | coordination.k8s.io | leases
create | core | secrets serviceaccounts serviceaccounts/token
delete | core | secrets
get | core | namespaces secrets serviceaccounts configmaps
update | core | secrets serviceaccounts
create | authentication.k8s.io | tokenreviews
create | authorization.k8s.io | subjectaccessreviews
list watch | * | *
role system:kube-scheduler
create patch update | core | events
create patch update | events.k8s.io | events
create | coordination.k8s.io | leases
get update | coordination.k8s.io | leases | kube-scheduler
R | core | nodes namespaces
delete R | core | pods
create | core | bindings pods/binding
patch update | core | pods/status
R | core | replicationcontrollers services
R | apps | replicasets statefulsets
R | policy | poddisruptionbudgets
R | core | persistentvolumeclaims persistentvolumes
create | authentication.k8s.io | tokenreviews
create | authorization.k8s.io | subjectaccessreviews
R | storage.k8s.io | csinodes csidrivers csistoragecapacities
R | resource.k8s.io | resourceclaims resourceslices deviceclasses

in kube-system extension-apiserver-authentication-reader
R | core | configmaps | extension-apiserver-authentication
in kube-system system:controller:bootstrap-signer
R | core | secrets
in kube-system system:controller:cloud-provider
create R | core | configmaps
in kube-system system:controller:token-cleaner
delete R | core | secrets
E
in kube-system system::leader-locking-kube-controller-manager
watch | core | configmaps
get update | core | configmaps | kube-controller-manager
in kube-system system::leader-locking-kube-scheduler
watch | core | configmaps
get update | core | configmaps | kube-scheduler
in kube-public system:controller:bootstrap-signer
R | core | configmaps
update | core | configmaps | cluster-info
E

role system:certificates.k8s.io:certificatesigningrequests:nodeclient
create | certificates.k8s.io | certificatesigningrequests/nodeclient
role system:certificates.k8s.io:certificatesigningrequests:selfnodeclient
create | certificates.k8s.io | certificatesigningrequests/selfnodeclient
role system:certificates.k8s.io:legacy-unknown-approver
approve | certificates.k8s.io | signers | kubernetes.io/legacy-unknown
role system:certificates.k8s.io:kubelet-serving-approver
approve | certificates.k8s.io | signers | kubernetes.io/kubelet-serving
role system:certificates.k8s.io:kube-apiserver-client-approver
approve | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client
role system:certificates.k8s.io:kube-apiserver-client-kubelet-approver
approve | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client-kubelet
)";

std::vector<std::string> words(std::string_view line) {
  std::vector<std::string> out;
  for (size_t at = 0; at < line.size();) {
    const size_t end = std::min(line.find(' ', at), line.size());
    if (end > at) out.emplace_back(line.substr(at, end - at));
    at = end + 1;
  }
  return out;
}

Rule parse_rule(std::string_view line) {
  std::vector<std::vector<std::string>> parts;
  for (size_t at = 0; at <= line.size();) {
    const size_t end = std::min(line.find('|', at), line.size());
    parts.push_back(words(line.substr(at, end - at)));
    at = end + 1;
  }
  Rule rule;
  for (const auto& verb : parts[0]) {
    if (verb == "R") {
      rule.verbs.insert(rule.verbs.end(), {"get", "list", "watch"});
    } else if (verb == "W") {
      rule.verbs.insert(rule.verbs.end(), {"create", "delete", "deletecollection", "patch", "update"});
    } else {
      rule.verbs.push_back(verb);
    }
  }
  if (parts[1][0] == "path") {
    rule.urls = parts[2];
    return rule;
  }
  rule.groups = {parts[1][0] == "core" ? "" : parts[1][0]};
  rule.resources = parts[2];
  if (parts.size() > 3) rule.names = parts[3];
  return rule;
}

const std::string kJoining = "Group system:bootstrappers:kubeadm:default-node-token";
const std::string kController = "system:controller:";

std::vector<DefaultRole> parse_roles() {
  std::vector<DefaultRole> roles;
  std::istringstream lines(std::string(kRoles) + kControllerRoles);
  for (std::string line; std::getline(lines, line);) {
    const auto first = words(line);
    if (first.empty()) continue;
    if (first[0] == "role") {
      roles.push_back({"clusterroles", "", first[1], {}, {}, {}});
    } else if (first[0] == "controller") {
      roles.push_back({"clusterroles", "", kController + first[1], {}, {}, {}});
    } else if (first[0] == "in") {
      roles.push_back({"roles", first[1], first[2], {}, {}, {}});
    } else if (first[0] == "E") {
      roles.back().rules.push_back({{"create", "patch", "update"}, {"", "events.k8s.io"}, {"events"}, {}, {}});
    } else if (first[0] == "label") {
      roles.back().label = first[1];
    } else if (first[0] == "selects") {
      roles.back().selects.push_back(first[1]);
    } else {
      roles.back().rules.push_back(parse_rule(line));
    }
  }
  return roles;
}

std::vector<DefaultBinding> make_bindings() {
  const auto cluster = [](const std::string& name, std::vector<std::string> subjects) {
    return DefaultBinding{"clusterrolebindings", "", name, "ClusterRole", name, std::move(subjects)};
  };
  const auto in = [](const char* ns, const char* name, const char* role, std::vector<std::string> subjects) {
    return DefaultBinding{"rolebindings", ns, name, "Role", role, std::move(subjects)};
  };
  const std::string manager = "User system:kube-controller-manager", scheduler = "User system:kube-scheduler";
  std::vector<DefaultBinding> all = {
      cluster("cluster-admin", {"Group system:masters"}),
      cluster("system:monitoring", {"Group system:monitoring"}),
      cluster("system:discovery", {"Group system:authenticated"}),
      cluster("system:basic-user", {"Group system:authenticated"}),
      cluster("system:public-info-viewer", {"Group system:authenticated", "Group system:unauthenticated"}),
      cluster("system:node-proxier", {"User system:kube-proxy"}),
      cluster("system:kube-controller-manager", {"User system:kube-controller-manager"}),
      cluster("system:kube-dns", {"ServiceAccount kube-system/kube-dns"}),
      cluster("system:kube-scheduler", {"User system:kube-scheduler"}),
      cluster("system:volume-scheduler", {"User system:kube-scheduler"}),
      cluster("system:node", {}),
      // Nodes join and renew: a bootstrap token of this group (as kubeadm makes them) may ask for a node's certificate,
      // and a node for its own next one.
      {"clusterrolebindings", "", "kubeadm:kubelet-bootstrap", "ClusterRole", "system:node-bootstrapper", {kJoining}},
      {"clusterrolebindings",
       "",
       "kubeadm:node-autoapprove-bootstrap",
       "ClusterRole",
       "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
       {kJoining}},
      {"clusterrolebindings",
       "",
       "kubeadm:node-autoapprove-certificate-rotation",
       "ClusterRole",
       "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
       {"Group system:nodes"}},
      cluster("system:service-account-issuer-discovery", {"Group system:serviceaccounts"}),
      in("kube-system", "system::extension-apiserver-authentication-reader",
         "extension-apiserver-authentication-reader", {manager, scheduler}),
      in("kube-system", "system::leader-locking-kube-controller-manager",
         "system::leader-locking-kube-controller-manager",
         {manager, "ServiceAccount kube-system/kube-controller-manager"}),
      in("kube-system", "system::leader-locking-kube-scheduler", "system::leader-locking-kube-scheduler",
         {scheduler, "ServiceAccount kube-system/kube-scheduler"}),
      in("kube-system", "system:controller:bootstrap-signer", "system:controller:bootstrap-signer",
         {"ServiceAccount kube-system/bootstrap-signer"}),
      in("kube-system", "system:controller:cloud-provider", "system:controller:cloud-provider",
         {"ServiceAccount kube-system/cloud-provider"}),
      in("kube-system", "system:controller:token-cleaner", "system:controller:token-cleaner",
         {"ServiceAccount kube-system/token-cleaner"}),
      in("kube-public", "system:controller:bootstrap-signer", "system:controller:bootstrap-signer",
         {"ServiceAccount kube-system/bootstrap-signer"}),
  };
  for (const auto& role : default_roles()) {
    if (role.resource == "clusterroles" && role.name.starts_with(kController))
      all.push_back(cluster(role.name, {"ServiceAccount kube-system/" + role.name.substr(kController.size())}));
  }
  return all;
}

nlohmann::json metadata(const std::string& ns, const std::string& name) {
  nlohmann::json meta{{"name", name},
                      {"labels", {{"kubernetes.io/bootstrapping", "rbac-defaults"}}},
                      {"annotations", {{kAutoUpdate, "true"}}}};
  if (!ns.empty()) meta["namespace"] = ns;
  return meta;
}

std::string aggregation_label(const std::string& to) { return "rbac.authorization.k8s.io/aggregate-to-" + to; }

}  // namespace

const std::vector<DefaultRole>& default_roles() {
  static const std::vector<DefaultRole> kParsed = parse_roles();
  return kParsed;
}

const std::vector<DefaultBinding>& default_bindings() {
  static const std::vector<DefaultBinding> kMade = make_bindings();
  return kMade;
}

nlohmann::json to_json(const Rule& rule) {
  nlohmann::json out{{"verbs", rule.verbs}};
  if (!rule.groups.empty()) out["apiGroups"] = rule.groups;
  if (!rule.resources.empty()) out["resources"] = rule.resources;
  if (!rule.names.empty()) out["resourceNames"] = rule.names;
  if (!rule.urls.empty()) out["nonResourceURLs"] = rule.urls;
  return out;
}

nlohmann::json to_json(const DefaultRole& role) {
  nlohmann::json out{{"metadata", metadata(role.ns, role.name)}};
  if (!role.label.empty()) out["metadata"]["labels"][aggregation_label(role.label)] = "true";
  for (const auto& rule : role.rules) out["rules"].push_back(to_json(rule));
  for (const auto& selected : role.selects) {
    out["aggregationRule"]["clusterRoleSelectors"].push_back(
        {{"matchLabels", {{aggregation_label(selected), "true"}}}});
  }
  return out;
}

nlohmann::json to_json(const DefaultBinding& binding) {
  nlohmann::json out{
      {"metadata", metadata(binding.ns, binding.name)},
      {"roleRef", {{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", binding.role_kind}, {"name", binding.role}}}};
  for (const auto& subject : binding.subjects) {
    const size_t space = subject.find(' ');
    const std::string kind = subject.substr(0, space), name = subject.substr(space + 1);
    if (kind == "ServiceAccount") {
      const size_t slash = name.find('/');
      out["subjects"].push_back(
          {{"kind", kind}, {"namespace", name.substr(0, slash)}, {"name", name.substr(slash + 1)}});
    } else {
      out["subjects"].push_back({{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", kind}, {"name", name}});
    }
  }
  return out;
}

}  // namespace gantry::apigw
