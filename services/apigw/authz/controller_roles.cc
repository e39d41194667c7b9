#include "services/apigw/authz/controller_roles.h"

namespace gantry::apigw {

const char* const kControllerRoles = R"(
controller attachdetach-controller
list watch | core | persistentvolumes persistentvolumeclaims
R | core | nodes
patch update | core | nodes/status
list watch | core | pods
create delete R patch update | storage.k8s.io | volumeattachments
R | storage.k8s.io | csidrivers csinodes
E
controller certificate-controller
delete R | certificates.k8s.io | certificatesigningrequests
update | certificates.k8s.io | certificatesigningrequests/approval certificatesigningrequests/status
approve | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client-kubelet
sign | certificates.k8s.io | signers | kubernetes.io/kube-apiserver-client kubernetes.io/kube-apiserver-client-kubelet kubernetes.io/kubelet-serving kubernetes.io/legacy-unknown
create | authorization.k8s.io | subjectaccessreviews
E
controller clusterrole-aggregation-controller
escalate get list patch update watch | rbac.authorization.k8s.io | clusterroles
controller cronjob-controller
R update | batch | cronjobs
create delete R patch update | batch | jobs
update | batch | cronjobs/status cronjobs/finalizers
delete list | core | pods
E
controller daemon-set-controller
R | apps | daemonsets
update | apps | daemonsets/status daemonsets/finalizers
list watch | core | nodes
create delete list patch watch | core | pods
create | core | pods/binding
create delete R patch update | apps | controllerrevisions
E
controller deployment-controller
R update | apps | deployments
update | apps | deployments/status deployments/finalizers
create delete R patch update | apps | replicasets
R update | core | pods
E
controller disruption-controller
R | apps | deployments replicasets statefulsets
R | core | replicationcontrollers
R | policy | poddisruptionbudgets
update | policy | poddisruptionbudgets/status
patch update | core | pods/status
get | * | */scale
E
controller endpoint-controller
R | core | pods services
create delete get list update | core | endpoints
create | core | endpoints/restricted
E
controller endpointslice-controller
R | core | nodes pods services
update | core | services/finalizers
create delete get list update | discovery.k8s.io | endpointslices
create | discovery.k8s.io | endpointslices/restricted
E
controller endpointslicemirroring-controller
R | core | endpoints services
update | core | services/finalizers endpoints/finalizers
create delete get list update | discovery.k8s.io | endpointslices
create | discovery.k8s.io | endpointslices/restricted
E
controller ephemeral-volume-controller
update | core | pods/finalizers
R | core | pods
create R | core | persistentvolumeclaims
E
controller expand-controller
R patch update | core | persistentvolumes
patch update | core | persistentvolumeclaims/status
R | core | persistentvolumeclaims
R | storage.k8s.io | storageclasses
get | core | endpoints services secrets
E
controller generic-garbage-collector
delete R patch update | * | *
E
controller horizontal-pod-autoscaler
R | autoscaling | horizontalpodautoscalers
update | autoscaling | horizontalpodautoscalers/status
get update | * | */scale
list | core | pods
list | metrics.k8s.io | pods
get list | custom.metrics.k8s.io | *
get list | external.metrics.k8s.io | *
E
controller job-controller
R patch update | batch | jobs
update | batch | jobs/status jobs/finalizers
create delete list patch watch | core | pods
E
controller legacy-service-account-token-cleaner
get | core | configmaps | kube-apiserver-legacy-service-account-token-tracking
delete patch | core | secrets
controller namespace-controller
delete R | core | namespaces
update | core | namespaces/finalize namespaces/status
delete deletecollection get list | * | *
controller node-controller
delete get list patch update | core | nodes
patch update | core | nodes/status pods/status
delete list watch | core | pods
E
controller persistent-volume-binder
create delete R update | core | persistentvolumes
update | core | persistentvolumes/status persistentvolumeclaims/status
R update | core | persistentvolumeclaims
create delete R | core | pods
R | storage.k8s.io | storageclasses
create delete get update | core | services endpoints
get list | core | secrets
R | core | nodes
watch | core | events
E
controller pod-garbage-collector
delete list watch | core | pods
get list | core | nodes
patch | core | pods/status
controller pv-protection-controller
R update | core | persistentvolumes
E
controller pvc-protection-controller
R update | core | persistentvolumeclaims
R | core | pods
E
controller replicaset-controller
R update | apps | replicasets
update | apps | replicasets/status replicasets/finalizers
create delete list patch watch | core | pods
E
controller replication-controller
R update | core | replicationcontrollers
update | core | replicationcontrollers/status replicationcontrollers/finalizers
create delete list patch watch | core | pods
E
controller resource-claim-controller
R | core | pods
update | core | pods/finalizers
patch update | core | pods/status
create delete R | resource.k8s.io | resourceclaims
update | resource.k8s.io | resourceclaims resourceclaims/status
R | resource.k8s.io | resourceclaimtemplates
E
controller resourcequota-controller
list watch | * | *
update | core | resourcequotas/status
E
controller root-ca-cert-publisher
create update | core | configmaps
E
controller route-controller
list watch | core | nodes
patch | core | nodes/status
E
controller service-account-controller
create | core | serviceaccounts
E
controller service-cidrs-controller
R patch update | networking.k8s.io | servicecidrs
patch update | networking.k8s.io | servicecidrs/finalizers servicecidrs/status
R | networking.k8s.io | ipaddresses
E
controller service-controller
R | core | services
patch update | core | services/status
list watch | core | nodes
E
controller statefulset-controller
list watch | core | pods
R | apps | statefulsets
update | apps | statefulsets/status statefulsets/finalizers
create delete get patch update | core | pods
create delete R patch update | apps | controllerrevisions
create delete get patch update | core | persistentvolumeclaims
E
controller ttl-after-finished-controller
delete R | batch | jobs
E
controller ttl-controller
list patch update watch | core | nodes
E
controller validatingadmissionpolicy-status-controller
R | admissionregistration.k8s.io | validatingadmissionpolicies
get patch update | admissionregistration.k8s.io | validatingadmissionpolicies/status
E
)";

}  // namespace gantry::apigw
