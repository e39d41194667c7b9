// The least that each kind asks for: it is accepted as it is, and refused without its required parts.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "libs/model/served.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

using ::testing::IsEmpty;
using Json = nlohmann::json;

// `openssl req -new`, encoded once more as JSON wants bytes.
constexpr const char* kRequest =
    "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURSBSRVFVRVNULS0tLS0KTUlISU1IRUNBUUF3RHpFTk1Bc0dBMVVFQXd3RWRHVnpkREJaTUJN"
    "R0J5cUdTTTQ5QWdFR0NDcUdTTTQ5QXdFSApBMElBQk5sQ1RLdFZucDRpdGs4VzRQMVlEcm9FaFgvTGFBUURoQVVOVVhXVnJxYUdL"
    "NFhtL0J3dWdTcDVic2hzCkEyMDRwOU9obGRQcnNkSnRWUTZ5amhWekh5dWdBREFLQmdncWhrak9QUVFEQWdOSEFEQkVBaUFPY01w"
    "SXpaQjgKTGVSV2FmSkMxaVN5Q2pWZWE1QyswZExjZ1NYWXFCcHI3QUlnVnp6bk1CMmhLNmpBaWJwK1hxL3pUeEVKUXpwNgpLYVpX"
    "MWo2dHlBdlhtbDg9Ci0tLS0tRU5EIENFUlRJRklDQVRFIFJFUVVFU1QtLS0tLQo=";

const std::map<std::string, std::string>& minimal() {
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

Problems problems_of(const model::Kind& kind, Json json) {
  if (!json["metadata"].contains("name")) json["metadata"]["name"] = "web";
  if (kind.namespaced) json["metadata"]["namespace"] = "default";
  auto bytes = model::from_json(kind, json.dump());
  EXPECT_TRUE(bytes.ok()) << kind.resource << ": " << (bytes.ok() ? "" : bytes.error().message);
  const model::Object given(kind, *bytes);
  model::Draft draft(given);
  set_defaults(draft, given);
  Problems problems;
  validate(draft.build(), problems);
  return problems;
}

std::vector<std::string> lines(const Problems& problems) {
  std::vector<std::string> out;
  for (const auto& cause : problems.causes()) out.push_back(cause.field + ": " + cause.message);
  return out;
}

TEST(MinimalObjects, AreAccepted) {
  size_t checked = 0;
  for (const auto& kind : model::Schema::get().kinds()) {
    if (kind.resource.empty() || !model::stored(kind) || !model::served(kind).refuses.empty()) continue;
    if (!model::served(kind).has_verb("create")) continue;
    const auto it = minimal().find(kind.resource);
    ASSERT_NE(it, minimal().end()) << kind.resource;
    EXPECT_THAT(lines(problems_of(kind, Json::parse(it->second))), IsEmpty()) << kind.resource;
    ++checked;
  }
  EXPECT_GT(checked, 45u);
}

TEST(MinimalObjects, AskForTheirParts) {
  // What may be empty.
  static constexpr std::string_view kEmpty[] = {"configmaps",
                                                "endpoints",
                                                "namespaces",
                                                "nodes",
                                                "secrets",
                                                "leases",
                                                "serviceaccounts",
                                                "csidrivers",
                                                "events",
                                                "csinodes",
                                                "deviceclasses",
                                                "resourceclaims",
                                                "resourceclaimtemplates",
                                                "networkpolicies",
                                                "poddisruptionbudgets",
                                                "resourcequotas",
                                                "limitranges",
                                                "roles",
                                                "clusterroles",
                                                "priorityclasses"};
  for (const auto& [resource, json] : minimal()) {
    if (std::find(std::begin(kEmpty), std::end(kEmpty), resource) != std::end(kEmpty)) continue;
    const auto& kind = *model::Schema::get().by_resource(resource);
    EXPECT_FALSE(problems_of(kind, Json::object()).empty()) << resource;
  }
}

TEST(MinimalObjects, ASigningRequestIsParsed) {
  const auto& kind = *model::Schema::get().by_resource("certificatesigningrequests");
  const Json csr = {{"spec", {{"signerName", "acme.io/x"}, {"usages", {"client auth"}}, {"request", "YWJj"}}}};
  const auto found = lines(problems_of(kind, csr));
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0], "spec.request: Invalid value: \"abc\": PEM block type must be CERTIFICATE REQUEST");
}

}  // namespace
}  // namespace gantry::apigw
