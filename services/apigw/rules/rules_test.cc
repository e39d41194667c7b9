// What the API demands of each kind, in the API server's words.
#include "services/apigw/rules/rules.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "services/apigw/rules/testing/given.h"

namespace gantry::apigw {
namespace {

using Json = nlohmann::json;
using ::testing::ElementsAre;
using testing::given_object;
using ::testing::IsEmpty;
using testing::lines;
using ::testing::UnorderedElementsAre;
using Lines = std::vector<std::string>;

Lines wrong(const char* resource, const Json& json) {
  Problems problems;
  validate(given_object(resource, json), problems);
  return lines(problems);
}

Lines wrong_update(const char* resource, const Json& before, const Json& now) {
  Problems problems;
  validate_update(given_object(resource, now), given_object(resource, before), "", problems);
  return lines(problems);
}

Json container(Json more = Json::object()) {
  Json c{{"name", "main"}, {"image", "demo:1"}};
  if (more.is_object()) c.update(more);
  return c;
}
Json pod(Json spec) { return {{"spec", spec}}; }
Json pod_with(Json more) { return pod({{"containers", {container(more)}}}); }

Json deployment() {
  return {{"spec",
           {{"selector", {{"matchLabels", {{"app", "web"}}}}},
            {"template", {{"metadata", {{"labels", {{"app", "web"}}}}}, {"spec", {{"containers", {container()}}}}}}}}};
}

TEST(PodRules, AGoodOneHasNoProblems) { EXPECT_THAT(wrong("pods", pod_with({})), IsEmpty()); }

TEST(PodRules, EverythingWrongIsSaidAtOnce) {
  Json bad = pod({{"containers", {{{"name", "A"}}, {{"name", "b"}, {"image", "x"}}, {{"name", "b"}, {"image", "x"}}}},
                  {"restartPolicy", "Sometimes"}});
  bad["metadata"]["name"] = "Web";
  const Lines all = wrong("pods", bad);
  ASSERT_EQ(all.size(), 5);
  EXPECT_TRUE(
      all[0].starts_with("metadata.name: Invalid value: \"Web\": a lowercase RFC 1123 subdomain must consist of"))
      << all[0];
  EXPECT_TRUE(
      all[1].starts_with("spec.containers[0].name: Invalid value: \"A\": a lowercase RFC 1123 label must consist of"))
      << all[1];
  EXPECT_EQ(all[2], "spec.containers[0].image: Required value");
  EXPECT_EQ(all[3], "spec.containers[2].name: Duplicate value: \"b\"");
  EXPECT_EQ(
      all[4],
      "spec.restartPolicy: Unsupported value: \"Sometimes\": supported values: \"Always\", \"Never\", \"OnFailure\"");
}

TEST(PodRules, TheErrorNamesKindAndFields) {
  Problems problems;
  const auto bad = given_object("deployments", {{"metadata", {{"name", "web"}}}, {"spec", Json::object()}});
  validate(bad, problems);
  const Error error = problems.error(bad.kind(), bad.name());
  EXPECT_EQ(error.message,
            "Deployment.apps \"web\" is invalid: [spec.selector: Required value, spec.template: Required value]");
  EXPECT_EQ(error.code, Code::kInvalid);
  EXPECT_EQ(error.causes[0].reason, "FieldValueRequired");
}

TEST(PodRules, Containers) {
  EXPECT_THAT(wrong("pods", pod({{"containers", Json::array()}})), ElementsAre("spec.containers: Required value"));
  EXPECT_THAT(wrong("pods", pod_with({{"imagePullPolicy", "Maybe"}})),
              ElementsAre("spec.containers[0].imagePullPolicy: Unsupported value: \"Maybe\": supported values: "
                          "\"Always\", \"IfNotPresent\", \"Never\""));
  EXPECT_THAT(
      wrong("pods", pod_with({{"ports", {{{"containerPort", 70000}}}}})),
      ElementsAre(
          "spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"));
  EXPECT_THAT(
      wrong("pods",
            pod_with({{"ports", {{{"containerPort", 1}, {"name", "a"}}, {{"containerPort", 2}, {"name", "a"}}}}})),
      ElementsAre("spec.containers[0].ports[1].name: Duplicate value: \"a\""));
  EXPECT_THAT(wrong("pods", pod_with({{"volumeMounts", {{{"name", "v"}, {"mountPath", "/x"}}}}})),
              ElementsAre("spec.containers[0].volumeMounts[0].name: Not found: \"v\""));
  EXPECT_THAT(wrong("pods", pod_with({{"env", {{{"name", ""}}}}})),
              ElementsAre("spec.containers[0].env[0].name: Required value"));
  EXPECT_THAT(wrong("pods", pod_with({{"livenessProbe", Json::object()}})),
              ElementsAre("spec.containers[0].livenessProbe: Required value: must specify a handler type"));
}

TEST(PodRules, Resources) {
  EXPECT_THAT(
      wrong("pods", pod_with({{"resources", {{"requests", {{"cpu", "2"}}}, {"limits", {{"cpu", "1"}}}}}})),
      ElementsAre(
          "spec.containers[0].resources.requests: Invalid value: \"2\": must be less than or equal to cpu limit of 1"));
  EXPECT_THAT(
      wrong("pods", pod_with({{"resources", {{"requests", {{"memory", "-1"}}}}}})),
      ElementsAre(
          "spec.containers[0].resources.requests[memory]: Invalid value: \"-1\": must be greater than or equal to 0"));
  EXPECT_THAT(
      wrong("pods", pod_with({{"resources", {{"requests", {{"gpu", "1"}}}}}})),
      ElementsAre(
          "spec.containers[0].resources.requests: Invalid value: \"gpu\": must be a standard resource for containers"));
}

TEST(PodRules, Volumes) {
  const auto with = [](Json volumes) { return pod({{"containers", {container()}}, {"volumes", volumes}}); };
  EXPECT_THAT(wrong("pods", with({{{"name", "a"}, {"emptyDir", Json::object()}, {"hostPath", {{"path", "/x"}}}}})),
              ElementsAre("spec.volumes[0]: Forbidden: may not specify more than 1 volume type"));
  EXPECT_THAT(wrong("pods", with({{{"name", "a"}}, {{"name", "a"}}})),
              ElementsAre("spec.volumes[1].name: Duplicate value: \"a\""));
  EXPECT_THAT(wrong("pods", with({{{"name", "a"}, {"configMap", Json::object()}}})),
              ElementsAre("spec.volumes[0].configMap.name: Required value"));
}

TEST(PodRules, Defaults) {
  const Json p = model::to_tree(given_object(
      "pods", pod_with({{"ports", {{{"containerPort", 80}}}},
                        {"image", "demo"},
                        {"resources", {{"limits", {{"cpu", "1"}, {"memory", "1Gi"}}}, {"requests", {{"cpu", "100m"}}}}},
                        {"readinessProbe", {{"httpGet", {{"port", 80}}}}}})));
  const Json& c = p["spec"]["containers"][0];
  EXPECT_EQ(c["imagePullPolicy"], "Always");
  EXPECT_EQ(c["ports"][0]["protocol"], "TCP");
  EXPECT_EQ(c["readinessProbe"]["httpGet"]["path"], "/");
  EXPECT_EQ(c["readinessProbe"]["httpGet"]["scheme"], "HTTP");
  EXPECT_EQ(c["readinessProbe"]["failureThreshold"], 3);
  EXPECT_EQ(c["resources"]["requests"], (Json{{"cpu", "100m"}, {"memory", "1Gi"}}));
  EXPECT_EQ(c["terminationMessagePath"], "/dev/termination-log");
  EXPECT_EQ(p["spec"]["dnsPolicy"], "ClusterFirst");
  EXPECT_EQ(p["spec"]["enableServiceLinks"], true);
}

TEST(PodRules, LittleMayChange) {
  const Json before = pod_with({});
  EXPECT_THAT(wrong_update("pods", before, pod_with({{"image", "demo:2"}})), IsEmpty());
  const Lines env = wrong_update("pods", before, pod_with({{"env", {{{"name", "A"}, {"value", "b"}}}}}));
  ASSERT_EQ(env.size(), 1);
  EXPECT_TRUE(
      env[0].starts_with("spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`"))
      << env[0];
  Json more = before;
  more["spec"]["containers"].push_back({{"name", "b"}, {"image", "x"}});
  EXPECT_THAT(wrong_update("pods", before, more),
              ElementsAre("spec.containers: Forbidden: pod updates may not add or remove containers"));
  Json tolerates = before;
  tolerates["spec"]["tolerations"] = {{{"key", "a"}, {"operator", "Exists"}}};
  EXPECT_THAT(wrong_update("pods", before, tolerates), IsEmpty());
  EXPECT_THAT(
      wrong_update("pods", tolerates, before),
      ElementsAre("spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds"));
}

TEST(WorkloadRules, TheTemplateMatchesTheSelector) {
  Json d = deployment();
  EXPECT_THAT(wrong("deployments", d), IsEmpty());
  d["spec"]["template"]["metadata"]["labels"]["app"] = "other";
  EXPECT_THAT(wrong("deployments", d), ElementsAre("spec.template.metadata.labels: Invalid value: {\"app\":\"other\"}: "
                                                   "`selector` does not match template `labels`"));
  d = deployment();
  d["spec"]["template"]["spec"]["restartPolicy"] = "Never";
  EXPECT_THAT(
      wrong("deployments", d),
      ElementsAre("spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\""));
}

TEST(WorkloadRules, TheSelectorStays) {
  Json d = deployment();
  d["spec"]["selector"]["matchLabels"]["app"] = "other";
  EXPECT_THAT(wrong_update("deployments", deployment(), d),
              ElementsAre("spec.selector: Invalid value: {\"matchLabels\":{\"app\":\"other\"}}: field is immutable"));
}

TEST(WorkloadRules, Strategy) {
  Json d = deployment();
  d["spec"]["strategy"] = {{"rollingUpdate", {{"maxUnavailable", 0}, {"maxSurge", 0}}}};
  EXPECT_THAT(
      wrong("deployments", d),
      ElementsAre("spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"));
  d["spec"]["strategy"] = {{"type", "Recreate"}, {"rollingUpdate", {{"maxSurge", 1}}}};
  EXPECT_THAT(
      wrong("deployments", d),
      ElementsAre("spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'"));
  d["spec"]["strategy"] = {{"type", "Never"}};
  EXPECT_THAT(
      wrong("deployments", d),
      ElementsAre(
          "spec.strategy.type: Unsupported value: \"Never\": supported values: \"Recreate\", \"RollingUpdate\""));
  d = deployment();
  d["spec"]["replicas"] = -1;
  EXPECT_THAT(wrong("deployments", d),
              ElementsAre("spec.replicas: Invalid value: -1: must be greater than or equal to 0"));
  const Json made = model::to_tree(given_object("deployments", deployment()));
  EXPECT_EQ(made["spec"]["strategy"]["rollingUpdate"]["maxSurge"], "25%");
  EXPECT_EQ(made["spec"]["progressDeadlineSeconds"], 600);
}

TEST(ServiceRules, Ports) {
  const auto service = [](Json spec) { return Json{{"spec", spec}}; };
  EXPECT_THAT(wrong("services", service({{"type", "ClusterIP"}})), ElementsAre("spec.ports: Required value"));
  EXPECT_THAT(wrong("services", service({{"ports", {{{"port", 80}}, {{"port", 81}}}}})),
              ElementsAre("spec.ports[0].name: Required value", "spec.ports[1].name: Required value"));
  EXPECT_THAT(wrong("services", service({{"ports", {{{"port", 80}, {"nodePort", 30000}}}}})),
              ElementsAre("spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"));
  EXPECT_THAT(wrong("services", service({{"ports", {{{"port", 0}, {"targetPort", 80}}}}})),
              ElementsAre("spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"));
  EXPECT_THAT(wrong("services", service({{"type", "Magic"}, {"ports", {{{"port", 80}}}}})),
              ElementsAre("spec.type: Unsupported value: \"Magic\": supported values: \"ClusterIP\", \"ExternalName\", "
                          "\"LoadBalancer\", \"NodePort\""));
}

TEST(ConfigRules, KeysAndImmutability) {
  const Lines bad = wrong("configmaps", {{"data", {{"a b", "x"}}}});
  ASSERT_EQ(bad.size(), 1);
  EXPECT_TRUE(bad[0].starts_with(
      "data[a b]: Invalid value: \"a b\": a valid config key must consist of alphanumeric characters"))
      << bad[0];
  EXPECT_THAT(wrong_update("configmaps", {{"immutable", true}, {"data", {{"a", "1"}}}},
                           {{"immutable", true}, {"data", {{"a", "2"}}}}),
              ElementsAre("data: Forbidden: field is immutable when `immutable` is set"));
  EXPECT_THAT(wrong_update("secrets", {{"type", "a"}}, {{"type", "b"}}),
              ElementsAre("type: Invalid value: \"b\": field is immutable"));
  EXPECT_THAT(wrong("secrets", {{"type", "kubernetes.io/tls"}}),
              UnorderedElementsAre("data[tls.crt]: Required value", "data[tls.key]: Required value"));
  // A key that no path could name is refused, not fatal.
  EXPECT_EQ(wrong("secrets", {{"stringData", {{"a]'\"b", "x"}}}}).size(), 1);
}

TEST(OtherRules, MetaNodesAndEvents) {
  EXPECT_THAT(wrong("configmaps", {{"metadata", {{"labels", {{"-a", "b"}}}}}}).size(), 1);
  EXPECT_THAT(wrong("nodes", {{"spec", {{"taints", {{{"key", "a"}, {"effect", "Sometimes"}}}}}}}),
              ElementsAre("spec.taints[0].effect: Unsupported value: \"Sometimes\": supported values: \"NoExecute\", "
                          "\"NoSchedule\", \"PreferNoSchedule\""));
  EXPECT_THAT(wrong("events", {{"involvedObject", {{"namespace", "other"}}}}),
              ElementsAre("involvedObject.namespace: Invalid value: \"other\": does not match event.namespace"));
}

}  // namespace
}  // namespace gantry::apigw
