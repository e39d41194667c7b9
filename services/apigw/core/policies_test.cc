#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "libs/model/json.h"
#include "services/apigw/core/testing/test_gateway.h"

namespace gantry::apigw {
namespace {

using ::testing::HasSubstr;
using testing::TestGateway;
using Json = TestGateway::Json;

class PoliciesTest : public ::testing::Test {
 protected:
  TestGateway g_{{.advertise_address = "192.0.2.1:6443", .root_ca_pem = "CA"}};

  std::string refusal(const std::string& resource, const Json& body, const std::string& ns = "default") {
    const auto answer = g_.create(resource, ns, body);
    return answer.ok() ? "" : answer.error().message;
  }
  static Json pod_with(const std::string& name, const Json& resources) {
    Json pod = TestGateway::pod(name);
    pod["spec"]["containers"][0]["resources"] = resources;
    return pod;
  }
  void quota(const Json& hard, const Json& more = Json::object(), const std::string& name = "q") {
    Json spec = more;
    spec["hard"] = hard;
    ASSERT_TRUE(g_.create("resourcequotas", "default", {{"metadata", {{"name", name}}}, {"spec", spec}}).ok());
  }
  Json quota_status(const std::string& name = "q") {
    g_.loop.advance(std::chrono::seconds(2));
    return g_.stored("resourcequotas", "default", name)["status"];
  }
};

TEST_F(PoliciesTest, ANamespaceComesWithItsAccountAndTheAuthority) {
  ASSERT_TRUE(g_.create("namespaces", "", {{"metadata", {{"name", "team"}}}}).ok());
  EXPECT_EQ(g_.stored("serviceaccounts", "team", "default")["metadata"]["name"], "default");
  EXPECT_TRUE(g_.stored("configmaps", "team", "kube-root-ca.crt").contains("data"));
}

TEST_F(PoliciesTest, APodGetsItsAccountsToken) {
  ASSERT_TRUE(g_.create("pods", "default", TestGateway::pod("p")).ok());
  const Json spec = g_.stored("pods", "default", "p")["spec"];
  EXPECT_EQ(spec["serviceAccountName"], "default");
  const std::string volume = spec["volumes"][0]["name"];
  EXPECT_TRUE(volume.starts_with("kube-api-access-"));
  EXPECT_EQ(spec["volumes"][0]["projected"]["sources"].size(), 3u);
  EXPECT_EQ(
      spec["containers"][0]["volumeMounts"],
      Json::array(
          {{{"name", volume}, {"readOnly", true}, {"mountPath", "/var/run/secrets/kubernetes.io/serviceaccount"}}}));
  ASSERT_TRUE(g_.create("serviceaccounts", "default",
                        {{"metadata", {{"name", "shy"}}},
                         {"automountServiceAccountToken", false},
                         {"imagePullSecrets", {{{"name", "registry"}}}}})
                  .ok());
  Json shy = TestGateway::pod("shy");
  shy["spec"]["serviceAccountName"] = "shy";
  ASSERT_TRUE(g_.create("pods", "default", shy).ok());
  EXPECT_FALSE(g_.stored("pods", "default", "shy")["spec"].contains("volumes"));
  EXPECT_EQ(g_.stored("pods", "default", "shy")["spec"]["imagePullSecrets"][0]["name"], "registry");
  shy["metadata"]["name"] = "none";
  shy["spec"]["serviceAccountName"] = "none";
  EXPECT_EQ(
      refusal("pods", shy),
      "pods \"none\" is forbidden: error looking up service account default/none: serviceaccount \"none\" not found");
}

TEST_F(PoliciesTest, PriorityComesFromTheClass) {
  ASSERT_TRUE(g_.create("priorityclasses", "", {{"metadata", {{"name", "high"}}}, {"value", 100}}).ok());
  Json pod = TestGateway::pod("p");
  ASSERT_TRUE(g_.create("pods", "default", pod).ok());
  EXPECT_EQ(g_.stored("pods", "default", "p")["spec"]["priority"], 0);
  pod["metadata"]["name"] = "h";
  pod["spec"]["priorityClassName"] = "high";
  ASSERT_TRUE(g_.create("pods", "default", pod).ok());
  EXPECT_EQ(g_.stored("pods", "default", "h")["spec"]["priority"], 100);
  pod["spec"]["priorityClassName"] = "none";
  EXPECT_EQ(refusal("pods", pod), "pods \"h\" is forbidden: no PriorityClass with name none was found");
  EXPECT_EQ(g_.stored("priorityclasses", "", "system-node-critical")["value"], 2000001000);
}

TEST_F(PoliciesTest, LimitRangesFillInAndBound) {
  ASSERT_TRUE(g_.create("limitranges", "default",
                        {{"metadata", {{"name", "l"}}},
                         {"spec",
                          {{"limits",
                            {{{"type", "Container"},
                              {"default", {{"cpu", "200m"}}},
                              {"defaultRequest", {{"cpu", "100m"}}},
                              {"min", {{"cpu", "50m"}}},
                              {"max", {{"cpu", "1"}}}}}}}}})
                  .ok());
  ASSERT_TRUE(g_.create("pods", "default", TestGateway::pod("p")).ok());
  const Json pod = g_.stored("pods", "default", "p");
  EXPECT_EQ(pod["spec"]["containers"][0]["resources"],
            (Json{{"limits", {{"cpu", "200m"}}}, {"requests", {{"cpu", "100m"}}}}));
  EXPECT_EQ(pod["status"]["qosClass"], "Burstable");
  EXPECT_EQ(refusal("pods", pod_with("big", {{"limits", {{"cpu", "2"}}}, {"requests", {{"cpu", "20m"}}}})),
            "pods \"big\" is forbidden: [minimum cpu usage per Container is 50m, but request is 20m, maximum cpu usage "
            "per Container is 1, but limit is 2]");
}

TEST_F(PoliciesTest, PodSecurityLabelsAreChecked) {
  const auto labelled = [](const char* mode, const char* value) {
    return Json{
        {"metadata", {{"name", "p"}, {"labels", {{std::string("pod-security.kubernetes.io/") + mode, value}}}}}};
  };
  EXPECT_EQ(
      g_.create("namespaces", "", labelled("warn", "strict")).error().message,
      "Namespace \"p\" is invalid: metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: \"strict\": must "
      "be one of privileged, baseline, restricted");
  for (const char* wrong : {"1.20", "v1.020", "v2.0", "v1."})
    EXPECT_EQ(g_.create("namespaces", "", labelled("enforce-version", wrong)).code(), Code::kInvalid) << wrong;
  ASSERT_TRUE(g_.create("namespaces", "", labelled("enforce-version", "v1.99")).ok());
  Json pod = TestGateway::pod("a");
  pod["spec"]["hostNetwork"] = true;
  ASSERT_TRUE(g_.create("pods", "p", pod).ok());
  const auto raised = g_.patch("namespaces", "", "p", labelled("enforce", "baseline"));
  ASSERT_TRUE(raised.ok()) << raised.error().message;
  EXPECT_EQ(raised->warnings,
            (std::vector<std::string>{
                "existing pods in namespace \"p\" violate the new PodSecurity enforce level \"baseline:v1.99\"",
                "a: host namespaces"}));
}

TEST_F(PoliciesTest, PodSecurityOfAnOlderVersion) {
  const auto violations = [&](const char* version, const char* level, Json pod) {
    const std::string ns = std::string("n") + version[3] + version[4] + level[0] + std::to_string(pod.dump().size());
    EXPECT_TRUE(g_.create("namespaces", "",
                          {{"metadata",
                            {{"name", ns},
                             {"labels",
                              {{"pod-security.kubernetes.io/enforce", level},
                               {"pod-security.kubernetes.io/enforce-version", version}}}}}})
                    .ok());
    const auto made = g_.create("pods", ns, std::move(pod));
    return made.ok() ? std::string() : made.error().message.substr(made.error().message.find("PodSecurity"));
  };
  Json sysctl = TestGateway::pod("p"), probe = sysctl, plain = sysctl;
  sysctl["spec"]["securityContext"]["sysctls"] = {{{"name", "net.ipv4.tcp_rmem"}, {"value", "1"}}};
  EXPECT_EQ(violations("v1.32", "baseline", sysctl), "");
  EXPECT_EQ(violations("v1.31", "baseline", sysctl),
            "PodSecurity \"baseline:v1.31\": forbidden sysctls (net.ipv4.tcp_rmem)");
  probe["spec"]["containers"][0]["livenessProbe"] = {{"tcpSocket", {{"host", "10.0.0.1"}, {"port", 80}}}};
  EXPECT_EQ(violations("v1.33", "baseline", probe), "");
  EXPECT_EQ(violations("v1.34", "baseline", probe),
            "PodSecurity \"baseline:v1.34\": probe or lifecycle host (container \"main\" uses probe or lifecycle host "
            "\"10.0.0.1\")");
  EXPECT_EQ(violations("v1.18", "restricted", plain),
            "PodSecurity \"restricted:v1.18\": allowPrivilegeEscalation != false (container \"main\" must set "
            "securityContext.allowPrivilegeEscalation=false), runAsNonRoot != true (pod or container \"main\" must set "
            "securityContext.runAsNonRoot=true)");
}

TEST_F(PoliciesTest, PodSecurityByLabels) {
  ASSERT_TRUE(g_.create("namespaces", "",
                        {{"metadata",
                          {{"name", "safe"},
                           {"labels",
                            {{"pod-security.kubernetes.io/enforce", "baseline"},
                             {"pod-security.kubernetes.io/warn", "restricted"}}}}}})
                  .ok());
  Json pod = TestGateway::pod("p");
  pod["spec"]["containers"][0]["securityContext"] = {{"privileged", true}};
  pod["spec"]["hostNetwork"] = true;
  EXPECT_EQ(refusal("pods", pod, "safe"),
            "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true), "
            "privileged (container \"main\" must not set securityContext.privileged=true)");
  const auto plain = g_.create("pods", "safe", TestGateway::pod("p"));
  ASSERT_TRUE(plain.ok()) << plain.error().message;
  ASSERT_EQ(plain->warnings.size(), 1u);
  EXPECT_EQ(
      plain->warnings[0],
      "would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"main\" must "
      "set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"main\" must set "
      "securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"main\" must set "
      "securityContext.runAsNonRoot=true), seccompProfile (pod or container \"main\" must set "
      "securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")");
}

TEST_F(PoliciesTest, ANewNodeIsNotReady) {
  ASSERT_TRUE(g_.create("nodes", "", {{"metadata", {{"name", "n"}}}}).ok());
  EXPECT_EQ(g_.stored("nodes", "", "n")["spec"]["taints"][0]["key"], "node.kubernetes.io/not-ready");
}

TEST_F(PoliciesTest, AQuotaCountsWhatWasThereAndWhatGoes) {
  ASSERT_TRUE(g_.create("pods", "default", TestGateway::pod("a")).ok());
  quota({{"pods", "2"}, {"count/deployments.apps", "1"}});
  ASSERT_TRUE(g_.create("pods", "default", TestGateway::pod("b")).ok());
  EXPECT_EQ(refusal("pods", TestGateway::pod("c")),
            "pods \"c\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2");
  ASSERT_TRUE(g_.create("deployments", "default", TestGateway::deployment("d")).ok());
  EXPECT_EQ(refusal("deployments", TestGateway::deployment("e")),
            "deployments.apps \"e\" is forbidden: exceeded quota: q, requested: count/deployments.apps=1, used: "
            "count/deployments.apps=1, limited: count/deployments.apps=1");
  EXPECT_EQ(quota_status(), (Json{{"hard", {{"pods", "2"}, {"count/deployments.apps", "1"}}},
                                  {"used", {{"pods", "2"}, {"count/deployments.apps", "1"}}}}));
  ASSERT_TRUE(g_.remove("pods", "default", "a").ok());
  EXPECT_EQ(quota_status()["used"]["pods"], "1");
  ASSERT_TRUE(g_.create("pods", "default", TestGateway::pod("c")).ok());
  // A pod that has ended needs nothing any more.
  ASSERT_TRUE(g_.patch("pods", "default", "b", {{"status", {{"phase", "Succeeded"}}}}, "status").ok());
  ASSERT_TRUE(g_.create("pods", "default", TestGateway::pod("f")).ok());
  EXPECT_NE(refusal("pods", TestGateway::pod("g")), "");
  ASSERT_TRUE(g_.patch("resourcequotas", "default", "q", {{"spec", {{"hard", {{"pods", "3"}}}}}}).ok());
  EXPECT_EQ(refusal("pods", TestGateway::pod("g")), "");
  ASSERT_TRUE(g_.remove("resourcequotas", "default", "q").ok());
  EXPECT_EQ(refusal("pods", TestGateway::pod("h")), "");
}

TEST_F(PoliciesTest, QuotasOfComputeAndOfScopes) {
  quota({{"requests.cpu", "1"}, {"limits.memory", "1Gi"}});
  EXPECT_EQ(
      refusal("pods", TestGateway::pod("none")),
      "pods \"none\" is forbidden: failed quota: q: must specify limits.memory for: main; requests.cpu for: main");
  const Json half{{"requests", {{"cpu", "600m"}}}, {"limits", {{"memory", "100Mi"}}}};
  ASSERT_TRUE(g_.create("pods", "default", pod_with("a", half)).ok());
  EXPECT_EQ(
      refusal("pods", pod_with("b", half)),
      "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=600m, used: requests.cpu=600m, limited: "
      "requests.cpu=1");
  ASSERT_TRUE(g_.remove("resourcequotas", "default", "q").ok());
  quota({{"pods", "1"}}, {{"scopes", {"BestEffort"}}}, "best");
  ASSERT_TRUE(g_.create("pods", "default", TestGateway::pod("c")).ok());
  EXPECT_NE(refusal("pods", TestGateway::pod("d")), "");
  ASSERT_TRUE(g_.create("pods", "default", pod_with("e", half)).ok());
}

// 500 creates through two gateways, the store crashes in the middle: 50 pods, neither more nor less.
TEST_F(PoliciesTest, AQuotaIsNeverOvercommittedUnderRaces) {
  auto second = g_.another();
  quota({{"pods", "50"}});
  quota_status();
  int answered = 0, made = 0, unknown = 0;
  for (int i = 0; i < 500; ++i) {
    bus::Command command{.id = "c" + std::to_string(i), .verb = bus::Verb::Create, .resource = "pods", .ns = "default"};
    command.json = TestGateway::pod("p" + std::to_string(i)).dump();
    (i % 2 == 0 ? *g_.api : *second).handle(g_.admin, std::move(command), [&](Result<Answer> answer) {
      ++answered;
      if (answer.ok()) ++made;
      if (!answer.ok() && answer.code() != Code::kForbidden) ++unknown;
    });
    if (i == 250) {
      g_.loop.drain();
      g_.store.crash(7);
    }
  }
  ASSERT_TRUE(g_.loop.run_until([&] { return answered == 500; }, std::chrono::seconds(120)));
  const auto stored = g_.list("pods", "default")->items.size();
  EXPECT_GE(stored, static_cast<size_t>(made));
  EXPECT_LE(stored, 50u);
  // What a crash has left open fills up, and no more.
  for (int i = 0; i < 60; ++i) (void)g_.create("pods", "default", TestGateway::pod("more" + std::to_string(i)));
  EXPECT_EQ(g_.list("pods", "default")->items.size(), 50u);
  EXPECT_EQ(quota_status()["used"]["pods"], "50");
}

TEST_F(PoliciesTest, AnIngressNeedsAClassThatSomebodyServes) {
  const auto ingress = [](const std::string& name, const char* cls) {
    Json out{{"metadata", {{"name", name}}},
             {"spec", {{"defaultBackend", {{"service", {{"name", "web"}, {"port", {{"number", 80}}}}}}}}}};
    if (*cls != 0) out["spec"]["ingressClassName"] = cls;
    return out;
  };
  EXPECT_EQ(
      refusal("ingresses", ingress("a", "")),
      "ingresses.networking.k8s.io \"a\" is forbidden: it names no IngressClass and there is no default one: it "
      "would have no effect; an Ingress is served by the controller that its IngressClass names, install one that "
      "brings its class");
  EXPECT_THAT(refusal("ingresses", ingress("a", "acme")), HasSubstr("there is no IngressClass \"acme\""));
  const auto add_class = [&](const char* name, const char* is_default) {
    EXPECT_TRUE(
        g_.create("ingressclasses", "",
                  {{"metadata",
                    {{"name", name}, {"annotations", {{"ingressclass.kubernetes.io/is-default-class", is_default}}}}},
                   {"spec", {{"controller", "acme.io/ingress"}}}})
            .ok());
  };
  add_class("acme", "false");
  EXPECT_EQ(refusal("ingresses", ingress("a", "acme")), "");
  Json old = ingress("old", "");
  old["metadata"]["annotations"]["kubernetes.io/ingress.class"] = "acme";
  EXPECT_EQ(refusal("ingresses", old), "");
  EXPECT_NE(refusal("ingresses", ingress("b", "")), "");
  add_class("main", "true");
  EXPECT_EQ(refusal("ingresses", ingress("b", "")), "");
  EXPECT_EQ(g_.stored("ingresses", "default", "b")["spec"]["ingressClassName"], "main");
  EXPECT_FALSE(g_.stored("ingresses", "default", "old")["spec"].contains("ingressClassName"));
}

TEST_F(PoliciesTest, WhatNothingActsOnIsRefused) {
  Json pod = TestGateway::pod("p");
  pod["spec"]["resourceClaims"] = {{{"name", "gpu"}, {"resourceClaimName", "one"}}};
  EXPECT_EQ(refusal("pods", pod),
            "pods \"p\" is forbidden: spec.resourceClaims: the scheduler does not allocate devices yet");
  const Json of_pods{{"metadata", {{"labels", {{"app", "gpu"}}}}}, {"spec", pod["spec"]}};
  const Json workload{{"metadata", {{"name", "w"}}},
                      {"spec", {{"selector", {{"matchLabels", {{"app", "gpu"}}}}}, {"template", of_pods}}}};
  EXPECT_EQ(refusal("deployments", workload),
            "deployments.apps \"w\" is forbidden: spec.resourceClaims: the scheduler does not allocate devices yet");
  EXPECT_THAT(refusal("daemonsets", workload), HasSubstr("spec.resourceClaims: "));
  const Json claim{{"metadata", {{"name", "c"}}},
                   {"spec",
                    {{"accessModes", {"ReadWriteOnce"}},
                     {"resources", {{"requests", {{"storage", "1Gi"}}}}},
                     {"volumeAttributesClassName", "fast"}}}};
  EXPECT_THAT(refusal("persistentvolumeclaims", claim), HasSubstr("spec.volumeAttributesClassName: "));
  Json copy = claim;
  copy["spec"].erase("volumeAttributesClassName");
  copy["spec"]["dataSource"] = {{"kind", "PersistentVolumeClaim"}, {"name", "other"}};
  EXPECT_THAT(refusal("persistentvolumeclaims", copy), HasSubstr("spec.dataSource: "));
}

TEST_F(PoliciesTest, ARuntimeClassShapesItsPods) {
  Json pod = TestGateway::pod("p");
  pod["spec"]["runtimeClassName"] = "heavy";
  EXPECT_EQ(refusal("pods", pod), "pods \"p\" is forbidden: pod rejected: RuntimeClass \"heavy\" not found");
  const Json toleration{{"key", "heavy"}, {"operator", "Exists"}, {"effect", "NoSchedule"}};
  ASSERT_TRUE(g_.create("runtimeclasses", "",
                        {{"metadata", {{"name", "heavy"}}},
                         {"handler", "vm"},
                         {"overhead", {{"podFixed", {{"cpu", "250m"}}}}},
                         {"scheduling",
                          {{"nodeSelector", {{"example.org/vm", "yes"}}}, {"tolerations", Json::array({toleration})}}}})
                  .ok());
  EXPECT_EQ(refusal("pods", pod), "");
  const Json spec = g_.stored("pods", "default", "p")["spec"];
  EXPECT_EQ(spec["overhead"], (Json{{"cpu", "250m"}}));
  EXPECT_EQ(spec["nodeSelector"], (Json{{"example.org/vm", "yes"}}));
  EXPECT_EQ(spec["tolerations"][0], toleration);
  EXPECT_EQ(spec["tolerations"].size(), 3u);

  pod["metadata"]["name"] = "q";
  pod["spec"]["nodeSelector"] = {{"example.org/vm", "no"}};
  EXPECT_THAT(refusal("pods", pod), HasSubstr("conflict: runtimeClass.scheduling.nodeSelector[example.org/vm] = yes"));
  pod["spec"].erase("nodeSelector");
  pod["spec"]["overhead"] = {{"cpu", "1"}};
  EXPECT_THAT(refusal("pods", pod), HasSubstr("Pod's Overhead doesn't match"));
  pod["spec"].erase("runtimeClassName");
  EXPECT_THAT(refusal("pods", pod), HasSubstr("without corresponding RuntimeClass"));
}

}  // namespace
}  // namespace gantry::apigw
