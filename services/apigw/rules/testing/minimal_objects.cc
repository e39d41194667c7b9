#include "services/apigw/rules/testing/minimal_objects.h"

namespace gantry::apigw::testing {
namespace {

// `openssl req -new`, encoded once more as JSON wants bytes.
constexpr const char* kRequest =
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlISU1IRUNBUUF3RHpFTk1Bc0dBMVVFQXd3RWRHVnpkREJaTUJN"
    "R0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSApBMElBQk5sQ1RLdFZucDRpdGs4VzRQMVlEcm9FaFgvTGFBUURoQVVOVVhXVnJxYUdL"
    "NFhtL0J3dWdTcDVic2hzCkEyMDRwOU9obGRQcnNkSnRWUTZ5amhWekh5dWdBREFLQmdncWhrak9QUVFEQWdOSEFEQkVBaUFPY01w"
    "SXpaQjgKTGVSV2FmSkMxaVN5Q2pWZWE1QyswZExjZ1NYWXFCcHI3QUlnVnp6bk1CMmhLNmpBaWJwK1hxL3pUeEVKUXpwNgpLYVpX"
    "MWo2dHlBdlhtbDg9Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

}  // namespace

const std::map<std::string, std::string>& minimal_objects() {
  static const std::string pod = R"({"containers":[{"name":"a","image":"b"}]})";
  static const std::string tpl = R"({"metadata":{"labels":{"a":"b"}},"spec":)" + pod + "}";
  static const std::string once = R"({"spec":{"restartPolicy":"Never","containers":[{"name":"a","image":"b"}]}})";
  static const std::string selected = R"({"spec":{"selector":{"matchLabels":{"a":"b"}},"template":)" + tpl + "}}";
  static const std::string claim =
      R"({"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})";
  static const auto* all = new std::map<std::string, std::string>{
      {"configmaps", "{}"},
      {"endpoints", "{}"},
      {"events", R"({"involvedObject":{"namespace":"default"}})"},
      {"limitranges", R"({"spec":{"limits":[{"type":"Container","max":{"cpu":"1"}}]}})"},
      {"namespaces", "{}"},
      {"nodes", "{}"},
      {"persistentvolumeclaims", claim},
      {"persistentvolumes",
       R"({"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/x"}}})"},
      {"pods", R"({"spec":)" + pod + "}"},
      {"podtemplates", R"({"template":)" + tpl + "}"},
      {"replicationcontrollers", R"({"spec":{"selector":{"a":"b"},"template":)" + tpl + "}}"},
      {"resourcequotas", R"({"spec":{"hard":{"pods":"1"}}})"},
      {"secrets", "{}"},
      {"serviceaccounts", "{}"},
      {"services", R"({"spec":{"ports":[{"port":80}]}})"},
      {"controllerrevisions", R"({"data":{"a":1},"revision":1})"},
      {"daemonsets", selected},
      {"deployments", selected},
      {"replicasets", selected},
      {"statefulsets", selected},
      {"horizontalpodautoscalers",
       R"({"spec":{"maxReplicas":2,"scaleTargetRef":{"kind":"Deployment","name":"a","apiVersion":"apps/v1"}}})"},
      {"cronjobs", R"({"spec":{"schedule":"* * * * *","jobTemplate":{"spec":{"template":)" + once + "}}}}"},
      {"jobs", R"({"spec":{"template":)" + once + "}}"},
      {"leases", "{}"},
      {"endpointslices", R"({"addressType":"IPv4","endpoints":[]})"},
      {"ingresses", R"({"spec":{"defaultBackend":{"service":{"name":"a","port":{"number":80}}}}})"},
      {"ingressclasses", R"({"spec":{"controller":"acme.io/foo"}})"},
      {"ipaddresses", R"({"metadata":{"name":"10.0.0.1"},"spec":{"parentRef":{"resource":"services","name":"a"}}})"},
      {"networkpolicies", R"({"spec":{"podSelector":{}}})"},
      {"servicecidrs", R"({"spec":{"cidrs":["10.0.0.0/24"]}})"},
      {"runtimeclasses", R"({"handler":"runc"})"},
      {"poddisruptionbudgets", R"({"spec":{"minAvailable":1,"selector":{"matchLabels":{"a":"b"}}}})"},
      {"clusterroles", R"({"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]})"},
      {"roles", R"({"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]})"},
      {"clusterrolebindings",
       R"({"roleRef":{"kind":"ClusterRole","name":"a"},"subjects":[{"kind":"User","name":"b"}]})"},
      {"rolebindings", R"({"roleRef":{"kind":"Role","name":"a"},"subjects":[{"kind":"Group","name":"b"}]})"},
      {"priorityclasses", R"({"value":10})"},
      {"csidrivers", "{}"},
      {"csinodes", R"({"spec":{"drivers":[]}})"},
      {"csistoragecapacities", R"({"storageClassName":"a"})"},
      {"storageclasses", R"({"provisioner":"acme.io/disk"})"},
      {"volumeattachments", R"({"spec":{"attacher":"acme.io","nodeName":"a","source":{"persistentVolumeName":"v"}}})"},
      {"volumeattributesclasses", R"({"driverName":"acme.io"})"},
      {"certificatesigningrequests",
       std::string(R"({"spec":{"signerName":"acme.io/x","usages":["client auth"],"request":")") + kRequest + R"("}})"},
      {"deviceclasses", R"({"spec":{}})"},
      {"resourceclaims", R"({"spec":{"devices":{"requests":[{"name":"a","exactly":{"deviceClassName":"b"}}]}}})"},
      {"resourceclaimtemplates",
       R"({"spec":{"spec":{"devices":{"requests":[{"name":"a","exactly":{"deviceClassName":"b"}}]}}}})"},
      {"resourceslices", R"({"spec":{"driver":"a.b","nodeName":"n","pool":{"name":"p","resourceSliceCount":1}}})"},
  };
  return *all;
}

const std::map<std::string, std::pair<std::string, std::string>>& needed_objects() {
  static const auto* all = new std::map<std::string, std::pair<std::string, std::string>>{
      {"ingresses",
       {"/apis/networking.k8s.io/v1/ingressclasses",
        R"({"apiVersion":"networking.k8s.io/v1","kind":"IngressClass","spec":{"controller":"acme.io/ingress"},
            "metadata":{"name":"acme","annotations":{"ingressclass.kubernetes.io/is-default-class":"true"}}})"}},
  };
  return *all;
}

}  // namespace gantry::apigw::testing
