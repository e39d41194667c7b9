// Objects and all that is wrong with them, in the API server's words. Each case is a change of an object that is right.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "services/apigw/rules/rules.h"
#include "services/apigw/rules/testing/given.h"

namespace gantry::apigw {
namespace {

using ::testing::ElementsAreArray;
using Json = nlohmann::json;
using testing::given_object;
using testing::lines;
using Lines = std::vector<std::string>;

struct Case {
  const char* change;  // a merge patch
  Lines wrong;
};

void expect(const char* resource, const char* right, std::initializer_list<Case> cases) {
  Problems none;
  validate(given_object(resource, Json::parse(right)), none);
  EXPECT_THAT(lines(none), ElementsAreArray(Lines())) << resource;
  for (const auto& [change, wrong] : cases) {
    Json json = Json::parse(right);
    json.merge_patch(Json::parse(change));
    Problems problems;
    validate(given_object(resource, json), problems);
    EXPECT_THAT(lines(problems), ElementsAreArray(wrong)) << resource << " " << change;
  }
}

void expect_update(const char* resource, const char* before, std::initializer_list<Case> cases) {
  for (const auto& [change, wrong] : cases) {
    Json json = Json::parse(before);
    json.merge_patch(Json::parse(change));
    Problems problems;
    validate_update(given_object(resource, json), given_object(resource, Json::parse(before)), "", problems);
    EXPECT_THAT(lines(problems), ElementsAreArray(wrong)) << resource << " " << change;
  }
}

TEST(Cases, Pods) {
  expect(
      "pods", R"({"spec":{"containers":[{"name":"a","image":"b"}]}})",
      {{R"({"spec":{"containers":[{"name":"a","image":"b","env":[{"name":"X","valueFrom":{"fieldRef":{"fieldPath":"spec.x"}}}]}]}})",
        {"spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: \"spec.x\": error converting "
         "fieldPath: field label not supported: spec.x"}},
       {R"({"spec":{"containers":[{"name":"a","image":"b","envFrom":[{}]}]}})",
        {"spec.containers[0].envFrom[0]: Invalid value: \"\": must specify one of: `configMapRef` or `secretRef`"}},
       {R"({"spec":{"containers":[{"name":"a","image":"b","securityContext":{"runAsUser":-1,"privileged":true,"allowPrivilegeEscalation":false}}]}})",
        {"spec.containers[0].securityContext: Invalid value: {\"privileged\":true,\"runAsUser\":-1,"
         "\"allowPrivilegeEscalation\":false}: cannot set `allowPrivilegeEscalation` to false and `privileged` to "
         "true",
         "spec.containers[0].securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, "
         "inclusive"}},
       {R"({"spec":{"initContainers":[{"name":"i","image":"b","livenessProbe":{"exec":{"command":["x"]}}}]}})",
        {"spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without "
         "restartPolicy=Always"}},
       {R"({"spec":{"containers":[{"name":"a","image":"b","restartPolicy":"Never",
           "restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"In","values":[42]}}]}]}})",
        {}},
       {R"({"spec":{"containers":[{"name":"a","image":"b","restartPolicy":"Perhaps"}]}})",
        {"spec.containers[0].restartPolicy: Unsupported value: \"Perhaps\": supported values: \"Always\", \"Never\", "
         "\"OnFailure\""}},
       {R"({"spec":{"containers":[{"name":"a","image":"b","restartPolicyRules":[{"action":"Restart"}]}]}})",
        {"spec.containers[0].restartPolicy: Required value: must specify restartPolicy when restart rules are used",
         "spec.containers[0].restartPolicyRules[0].exitCodes: Required value: must be specified"}},
       {R"({"spec":{"ephemeralContainers":[{"name":"a","image":"b","ports":[{"containerPort":1}],"targetContainerName":"z"}]}})",
        {"spec.ephemeralContainers[0].name: Duplicate value: \"a\"",
         "spec.ephemeralContainers[0].ports: Forbidden: cannot be set for an Ephemeral Container",
         "spec.ephemeralContainers[0].targetContainerName: Not found: \"z\""}},
       {R"({"spec":{"hostNetwork":true,"containers":[{"name":"a","image":"b","ports":[{"containerPort":1,"hostPort":2}]}]}})",
        {"spec.containers[0].ports[0].containerPort: Invalid value: 1: must match `hostPort` when `hostNetwork` is "
         "true"}},
       {R"({"spec":{"volumes":[{"name":"v","projected":{"sources":[{"serviceAccountToken":{"path":"../x","expirationSeconds":5}}]}}]}})",
        {"spec.volumes[0].projected.sources[0].serviceAccountToken.expirationSeconds: Invalid value: 5: may not "
         "specify a duration less than 10 minutes",
         "spec.volumes[0].projected.sources[0].serviceAccountToken.path: Invalid value: \"../x\": must not contain "
         "'..'"}},
       {R"({"spec":{"volumes":[{"name":"v","downwardAPI":{"items":[{"path":"a"}]}},{"name":"n","nfs":{"path":"x"}}]}})",
        {"spec.volumes[0].downwardAPI.items[0]: Required value: one of fieldRef and resourceFieldRef is required",
         "spec.volumes[1].nfs.server: Required value",
         "spec.volumes[1].nfs.path: Invalid value: \"x\": must be an absolute path"}},
       {R"({"spec":{"securityContext":{"seccompProfile":{"type":"Localhost"},"sysctls":[{"name":"A b"}]}}})",
        {"spec.securityContext.sysctls[0].name: Invalid value: \"A b\": must have at most 253 characters and match "
         "regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$",
         "spec.securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is "
         "Localhost"}},
       {R"({"spec":{"topologySpreadConstraints":[{"maxSkew":0,"topologyKey":"","whenUnsatisfiable":"x"}]}})",
        {"spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
         "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
         "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"x\": supported values: "
         "\"DoNotSchedule\", \"ScheduleAnyway\""}},
       {R"({"spec":{"affinity":{"podAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":0}]}}}})",
        {"spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 0: "
         "must be in the range 1-100",
         "spec.affinity.podAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].podAffinityTerm.topologyKey: "
         "Required value: can not be empty"}},
       {R"({"spec":{"hostAliases":[{"ip":"x"}],"schedulingGates":[{"name":"a"}],"nodeName":"n"}})",
        {"spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
         "spec.hostAliases[0].ip: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or "
         "2001:db8::ffff)"}},
       {R"({"spec":{"os":{"name":"plan9"},"preemptionPolicy":"Maybe","shareProcessNamespace":true,"hostPID":true}})",
        {"spec.shareProcessNamespace: Invalid value: true: ShareProcessNamespace and HostPID cannot both be enabled",
         "spec.preemptionPolicy: Unsupported value: \"Maybe\": supported values: \"Never\", "
         "\"PreemptLowerPriority\"",
         "spec.os.name: Unsupported value: \"plan9\": supported values: \"linux\", \"windows\""}},
       {R"({"metadata":{"finalizers":["x"],"annotations":{"a b":""}}})",
        {"metadata.annotations: Invalid value: \"a b\": name part must consist of alphanumeric characters, '-', '_' "
         "or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or "
         "'123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')",
         "metadata.finalizers[0]: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully "
         "qualified"}}});
}

TEST(Cases, PodsMayChangeLittle) {
  expect_update(
      "pods",
      R"({"spec":{"activeDeadlineSeconds":5,"schedulingGates":[{"name":"a"}],"containers":[{"name":"a","image":"b"}]}})",
      {{R"({"spec":{"activeDeadlineSeconds":4,"schedulingGates":[],"nodeSelector":{"a":"b"}}})", {}},
       {R"({"spec":{"activeDeadlineSeconds":6,"schedulingGates":[{"name":"b"}]}})",
        {"spec.activeDeadlineSeconds: Invalid value: 6: must be less than or equal to previous value",
         "spec.schedulingGates: Forbidden: only deletion is allowed, but found new scheduling gate 'b'"}}});
}

TEST(Cases, Workloads) {
  constexpr const char* kSelected =
      R"({"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a","image":"b"}]}}}})";
  expect("daemonsets", kSelected,
         {{R"({"spec":{"updateStrategy":{"rollingUpdate":{"maxUnavailable":0}}}})",
           {"spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0"}},
          {R"({"spec":{"updateStrategy":{"rollingUpdate":{"maxSurge":1}}}})",
           {"spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is "
            "non-zero"}},
          {R"({"spec":{"template":{"spec":{"activeDeadlineSeconds":5}}}})",
           {"spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in DaemonSet is not "
            "Supported"}}});
  expect("statefulsets", kSelected,
         {{R"({"spec":{"volumeClaimTemplates":[{"metadata":{"name":"data"},"spec":{"accessModes":["ReadWriteOnce"],
               "resources":{"requests":{"storage":"1Mi"}}}}],
               "template":{"spec":{"containers":[{"name":"a","image":"b","volumeMounts":[
                 {"name":"data","mountPath":"/data"},{"name":"other","mountPath":"/other"}]}]}}}})",
           {"spec.template.spec.containers[0].volumeMounts[1].name: Not found: \"other\""}},
          {R"({"spec":{"replicas":-1,"podManagementPolicy":"No"}})",
           {"spec.replicas: Invalid value: -1: must be greater than or equal to 0",
            "spec.podManagementPolicy: Unsupported value: \"No\": supported values: \"OrderedReady\", \"Parallel\""}}});
  expect_update("statefulsets", kSelected,
                {{R"({"spec":{"replicas":4,"minReadySeconds":1,"ordinals":{"start":2}}})", {}},
                 {R"({"spec":{"serviceName":"x"}})",
                  {"spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', "
                   "'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and "
                   "'minReadySeconds' are forbidden"}}});
  expect("replicationcontrollers",
         R"({"spec":{"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"a","image":"b"}]}}}})",
         {{R"({"spec":{"selector":{"a":"c"}}})",
           {"spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template "
            "`labels`"}}});
}

TEST(Cases, Jobs) {
  constexpr const char* kJob =
      R"({"spec":{"completions":2,"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"a","image":"b"}]}}}})";
  expect(
      "jobs", kJob,
      {{R"({"spec":{"completions":null,"parallelism":2,"completionMode":"Indexed"}})",
        {"spec.completions: Required value: when completion mode is Indexed"}},
       {R"({"spec":{"backoffLimitPerIndex":1,"maxFailedIndexes":5}})",
        {"spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
         "spec.maxFailedIndexes: Invalid value: 5: must be less than or equal to completions"}},
       {R"({"spec":{"template":{"spec":{"restartPolicy":"Always"}}}})",
        {"spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\""}},
       {R"({"spec":{"podFailurePolicy":{"rules":[{"action":"FailIndex","onExitCodes":{"operator":"In","values":[0,1,1]}}]}}})",
        {"spec.podFailurePolicy.rules[0].action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to "
         "be set",
         "spec.podFailurePolicy.rules[0].onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator",
         "spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 1"}},
       {R"({"spec":{"completionMode":"Indexed","successPolicy":{"rules":[{"succeededIndexes":"1,0"}]}}})",
        {"spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"1,0\": error parsing succeededIndexes: "
         "non-increasing order, previous: 1, current: 0"}}});
  expect_update("jobs", kJob,
                {{R"({"spec":{"parallelism":4,"suspend":true,"ttlSecondsAfterFinished":1}})", {}},
                 {R"({"spec":{"completions":3}})", {"spec.completions: Invalid value: 3: field is immutable"}},
                 {R"({"spec":{"backoffLimitPerIndex":3}})",
                  {"spec.backoffLimitPerIndex: Invalid value: 3: field is immutable"}}});
  expect_update("jobs",
                R"({"spec":{"completionMode":"Indexed","completions":2,"parallelism":2,"template":{"spec":{}}}})",
                {{R"({"spec":{"completions":3,"parallelism":3}})", {}},
                 {R"({"spec":{"completions":3}})",
                  {"spec.completions: Invalid value: 3: can only be modified in tandem with spec.parallelism"}}});
  expect(
      "cronjobs",
      R"({"spec":{"schedule":"* * * * *","jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[{"name":"a","image":"b"}]}}}}}})",
      {{R"({"spec":{"schedule":"x","timeZone":"local"}})",
        {"spec.schedule: Invalid value: \"x\": expected exactly 5 fields, found 1: [x]",
         "spec.timeZone: Invalid value: \"local\": timeZone must be an explicit time zone as defined in "
         "https://www.iana.org/time-zones"}},
       {R"({"spec":{"timeZone":"Europe/Nowhere"}})",
        {"spec.timeZone: Invalid value: \"Europe/Nowhere\": unknown time zone Europe/Nowhere"}},
       {R"({"metadata":{"name":"a23456789012345678901234567890123456789012345678901234567890"}})",
        {"metadata.name: Invalid value: \"a23456789012345678901234567890123456789012345678901234567890\": must be "
         "no more than 52 characters"}}});
}

TEST(Cases, Autoscaling) {
  expect(
      "horizontalpodautoscalers", R"({"spec":{"maxReplicas":2,"scaleTargetRef":{"kind":"Deployment","name":"a"}}})",
      {{R"({"spec":{"minReplicas":3}})",
        {"spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`"}},
       {R"({"spec":{"minReplicas":0}})",
        {"spec.metrics: Forbidden: must specify at least one Object or External metric to support scaling to zero "
         "replicas"}},
       {R"({"spec":{"minReplicas":0,"metrics":[{"type":"External","external":{"metric":{"name":"m"},"target":{"type":"Value","value":"1"}}}]}})",
        {}},
       {R"({"spec":{"maxReplicas":null,"scaleTargetRef":{"name":""}}})",
        {"spec.scaleTargetRef.name: Required value", "spec.maxReplicas: Invalid value: 0: must be greater than 0"}},
       {R"({"spec":{"metrics":[{"type":"Resource"}]}})",
        {"spec.metrics[0].resource: Required value: must populate information for the given metric source"}},
       {R"({"spec":{"metrics":[{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization"}}}]}})",
        {"spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or "
         "a target utilization"}},
       {R"({"spec":{"behavior":{"scaleUp":{"policies":[{"type":"No","value":0,"periodSeconds":9999}]}}}})",
        {"spec.behavior.scaleUp.policies[0].periodSeconds: Invalid value: 9999: must be less than or equal to 1800",
         "spec.behavior.scaleUp.policies[0].type: Unsupported value: \"No\": supported values: \"Percent\", "
         "\"Pods\"",
         "spec.behavior.scaleUp.policies[0].value: Invalid value: 0: must be greater than 0"}}});
  expect("poddisruptionbudgets", R"({"spec":{"minAvailable":1}})",
         {{R"({"spec":{"minAvailable":"101%"}})",
           {"spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%"}},
          {R"({"spec":{"maxUnavailable":1}})",
           {"spec: Invalid value: {\"minAvailable\":1,\"maxUnavailable\":1}: minAvailable and maxUnavailable cannot be "
            "both set"}}});
}

TEST(Cases, Networking) {
  expect("services", R"({"spec":{"ports":[{"port":80}]}})",
         {{R"({"spec":{"type":"ExternalName"}})", {"spec.externalName: Required value"}},
          {R"({"spec":{"loadBalancerClass":"a/b"}})",
           {"spec.loadBalancerClass: Forbidden: may only be used when `type` is 'LoadBalancer'"}},
          {R"({"spec":{"sessionAffinity":"ClientIP","sessionAffinityConfig":{"clientIP":{"timeoutSeconds":90000}}}})",
           {"spec.sessionAffinityConfig.clientIP.timeoutSeconds: Invalid value: 90000: must be greater than 0 and less "
            "than 86400"}},
          {R"({"spec":{"sessionAffinityConfig":{"clientIP":{"timeoutSeconds":90000}}}})", {}},
          {R"({"spec":{"externalIPs":["127.0.0.1"],"trafficDistribution":"Far"}})",
           {"spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, "
            "::1/128)",
            "spec.trafficDistribution: Unsupported value: \"Far\": supported values: \"PreferClose\", "
            "\"PreferSameNode\", \"PreferSameZone\""}},
          {R"({"spec":{"ports":[{"name":"a","port":80},{"name":"b","port":80}]}})",
           {"spec.ports[1]: Duplicate value: {\"protocol\":\"TCP\",\"port\":80}"}}});
  expect(
      "networkpolicies", R"({"spec":{"podSelector":{}}})",
      {{R"({"spec":{"policyTypes":["Sideways"]}})",
        {"spec.policyTypes[0]: Unsupported value: \"Sideways\": supported values: \"Egress\", \"Ingress\""}},
       {R"({"spec":{"ingress":[{"ports":[{"port":"http","endPort":9},{"endPort":9}],"from":[{}]}]}})",
        {"spec.ingress[0].ports[0].endPort: Invalid value: 9: may not be specified when `port` is non-numeric",
         "spec.ingress[0].ports[1].port: Required value: may not be empty when endPort is specified",
         "spec.ingress[0].from[0]: Required value: must specify a peer"}},
       {R"({"spec":{"egress":[{"to":[{"podSelector":{},"ipBlock":{"cidr":"10.0.0.0/8","except":["11.0.0.0/9"]}}]}]}})",
        {"spec.egress[0].to[0]: Forbidden: may not specify both ipBlock and another peer",
         "spec.egress[0].to[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/9\": must be a strict subset of "
         "`cidr`"}}});
  expect(
      "ingresses", R"({"spec":{"rules":[{"host":"a.b"}]}})",
      {{R"({"spec":{"rules":null}})",
        {"spec: Invalid value: {}: either `defaultBackend` or `rules` must be specified"}},
       {R"({"spec":{"rules":[{"host":"10.0.0.1","http":{"paths":[{"path":"x","pathType":"Exact","backend":{"service":{"name":"a"}}}]}}]}})",
        {"spec.rules[0].host: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
         "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path",
         "spec.rules[0].http.paths[0].backend.service.port: Required value: port name or number is required"}},
       {R"({"spec":{"rules":[{"http":{"paths":[{"path":"/"}]}}]}})",
        {"spec.rules[0].http.paths[0].backend: Required value: resource or service backend is required",
         "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified"}}});
  expect("endpointslices", R"({"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.1"]}]})",
         {{R"({"endpoints":[{"addresses":["fd00::1"]}]})",
           {"endpoints[0].addresses[0]: Invalid value: \"fd00::1\": must be an IPv4 address"}},
          {R"({"ports":[{"port":0},{"port":80}]})",
           {"ports[1].name: Duplicate value: \"\"",
            "ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"}}});
  expect("endpoints", R"({"subsets":[{"addresses":[{"ip":"127.0.0.1"}],"ports":[{"port":6443}]}]})",
         {{R"({"subsets":[{"addresses":[{"ip":"169.254.1.1"}],"ports":[{"port":0}]}]})",
           {"subsets[0].addresses[0].ip: Invalid value: \"169.254.1.1\": may not be in the link-local range "
            "(169.254.0.0/16, fe80::/10)",
            "subsets[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive"}},
          {R"({"subsets":[{}]})", {"subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`"}}});
  expect("ingressclasses", R"({"spec":{"controller":"acme.io/foo"}})",
         {{R"({"spec":{"controller":"foo","parameters":{"kind":"A","name":"b","scope":"Namespace"}}})",
           {"spec.controller: Invalid value: \"foo\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"}}});
}

TEST(Cases, AServiceLeavesBehindWhatItsOldTypeHad) {
  const auto before = given_object(
      "services",
      Json::parse(
          R"({"spec":{"type":"LoadBalancer","externalTrafficPolicy":"Local","loadBalancerClass":"a/b","ports":[{"port":80}]}})"));
  Json json = model::to_tree(before);
  json["spec"]["type"] = "ClusterIP";
  const auto now = given_object("services", json);
  model::Draft draft(now);
  follow_type(draft, now, before);
  Problems problems;
  const auto after = draft.build();
  validate(after, problems);
  validate_update(after, before, "", problems);
  EXPECT_THAT(lines(problems), ElementsAreArray(Lines()));
  expect_update("services", R"({"spec":{"type":"LoadBalancer","loadBalancerClass":"a/b","ports":[{"port":80}]}})",
                {{R"({"spec":{"loadBalancerClass":"c/d"}})",
                  {"spec.loadBalancerClass: Invalid value: \"c/d\": may not change once set"}}});
}

TEST(Cases, Storage) {
  constexpr const char* kVolume =
      R"({"spec":{"capacity":{"storage":"1Gi"},"accessModes":["ReadWriteOnce"],"hostPath":{"path":"/x"}}})";
  expect("persistentvolumes", kVolume,
         {{R"({"spec":{"nfs":{"server":"a","path":"/b"}}})",
           {"spec.nfs: Forbidden: may not specify more than 1 volume type"}},
          {R"({"spec":{"hostPath":null,"capacity":{"cpu":"1","storage":"0"}}})",
           {"spec: Required value: must specify a volume type",
            "spec.capacity: Unsupported value: \"cpu\": supported values: \"storage\"",
            "spec.capacity[storage]: Invalid value: \"0\": must be greater than zero"}},
          {R"({"spec":{"hostPath":null,"local":{"path":"/x"},"accessModes":["No"]}})",
           {"spec.nodeAffinity: Required value: Local volume requires node affinity",
            "spec.accessModes[0]: Unsupported value: \"No\": supported values: \"ReadOnlyMany\", \"ReadWriteMany\", "
            "\"ReadWriteOnce\", \"ReadWriteOncePod\""}}});
  expect_update("persistentvolumes", kVolume,
                {{R"({"spec":{"capacity":{"storage":"2Gi"},"claimRef":{"name":"c"}}})", {}},
                 {R"({"spec":{"hostPath":{"path":"/y"}}})",
                  {"spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after "
                   "creation"}}});
  constexpr const char* kClaim =
      R"({"spec":{"accessModes":["ReadWriteOnce"],"volumeName":"v","resources":{"requests":{"storage":"2Gi"}}},"status":{"phase":"Bound","capacity":{"storage":"2Gi"}}})";
  expect("persistentvolumeclaims", kClaim,
         {{R"({"spec":{"resources":null,"accessModes":["ReadWriteOncePod","ReadWriteOnce"]}})",
           {"spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
            "spec.resources[storage]: Required value"}}});
  constexpr const char* kSpec =
      "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for "
      "bound claims";
  expect_update("persistentvolumeclaims", kClaim,
                {{R"({"spec":{"resources":{"requests":{"storage":"3Gi"}}}})", {}},
                 {R"({"spec":{"resources":{"requests":{"storage":"1Gi"}}}})",
                  {"spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"}},
                 {R"({"spec":{"volumeName":"w"}})", {kSpec}}});
  expect_update("persistentvolumeclaims",
                R"({"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"2Gi"}}}})",
                {{R"({"spec":{"volumeName":"w","storageClassName":"fast"}})", {}},
                 {R"({"spec":{"resources":{"requests":{"storage":"3Gi"}}}})", {kSpec}}});
  expect_update("storageclasses", R"({"provisioner":"a.b/c","parameters":{"a":"b"}})",
                {{R"({"allowVolumeExpansion":true})", {}},
                 {R"({"parameters":{"a":"c"},"volumeBindingMode":"WaitForFirstConsumer"})",
                  {"parameters: Forbidden: updates to parameters are forbidden.",
                   "volumeBindingMode: Invalid value: \"WaitForFirstConsumer\": field is immutable"}}});
  expect("volumeattachments", R"({"spec":{"attacher":"acme.io","nodeName":"a","source":{"persistentVolumeName":"v"}}})",
         {{R"({"spec":{"source":null}})",
           {"spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName"}}});
}

TEST(Cases, LimitsAndQuotas) {
  expect(
      "limitranges", R"({"spec":{"limits":[{"type":"Container","max":{"cpu":"2"},"min":{"cpu":"1"}}]}})",
      {{R"({"spec":{"limits":[{"type":"Container","max":{"cpu":"1"},"min":{"cpu":"2"},"default":{"cpu":"1"},"defaultRequest":{"cpu":"1"}}]}})",
        {"spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than default request value 1",
         "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than default value 1",
         "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1"}},
       {R"({"spec":{"limits":[{"type":"Pod","default":{"cpu":"1"}},{"type":"Pod"}]}})",
        {"spec.limits[1].type: Duplicate value: \"Pod\"",
         "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"}},
       {R"({"spec":{"limits":[{"type":"Container","maxLimitRequestRatio":{"cpu":"500m"}}]}})",
        {"spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1"}}});
  expect("resourcequotas", R"({"spec":{"hard":{"pods":"1"}}})",
         {{R"({"spec":{"hard":{"pods":"1.5","gold":"1"}}})",
           {"spec.hard[gold]: Invalid value: \"gold\": must be a standard resource for quota",
            "spec.hard[pods]: Invalid value: \"1500m\": must be an integer"}},
          {R"({"spec":{"hard":{"services":"1"},"scopes":["BestEffort","NotBestEffort","Other"]}})",
           {"spec.scopes: Invalid value: \"BestEffort\": unsupported scope applied to resource",
            "spec.scopes: Invalid value: \"NotBestEffort\": unsupported scope applied to resource",
            "spec.scopes: Invalid value: \"Other\": unsupported scope applied to resource",
            "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
            "spec.scopes[2]: Unsupported value: \"Other\": supported values: \"BestEffort\", "
            "\"CrossNamespacePodAffinity\", \"NotBestEffort\", \"NotTerminating\", \"PriorityClass\", \"Terminating\", "
            "\"VolumeAttributesClass\""}}});
  expect("priorityclasses", R"({"value":10})",
         {{R"({"metadata":{"name":"system-x"},"value":1000000001})",
           {"metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only",
            "value: Forbidden: maximum allowed value of a user defined priority is 1000000000"}},
          {R"({"metadata":{"name":"system-node-critical"},"value":2000001000})", {}}});
}

TEST(Cases, Access) {
  expect("roles",
         R"({"metadata":{"name":"system:a"},"rules":[{"verbs":["get"],"apiGroups":[""],"resources":["pods"]}]})",
         {{R"({"rules":[{"verbs":[]}]})",
           {"rules[0].apiGroups: Required value: resource rules must supply at least one api group",
            "rules[0].resources: Required value: resource rules must supply at least one resource",
            "rules[0].verbs: Required value: verbs must contain at least one value"}},
          {R"({"rules":[{"verbs":["get"],"nonResourceURLs":["/x"]}]})",
           {"rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs"}}});
  expect(
      "clusterrolebindings", R"({"roleRef":{"kind":"ClusterRole","name":"a"}})",
      {{R"({"roleRef":{"kind":"Role","name":""},"subjects":[{"kind":"ServiceAccount","name":"x"},{"kind":"User","name":"x","apiGroup":"y"}]})",
        {"roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
         "subjects[0].namespace: Required value",
         "subjects[1].apiGroup: Unsupported value: \"y\": supported values: \"rbac.authorization.k8s.io\"",
         "roleRef.name: Required value"}}});
  expect_update("rolebindings", R"({"roleRef":{"kind":"Role","name":"a"}})",
                {{R"({"subjects":[{"kind":"User","name":"x"}]})", {}},
                 {R"({"roleRef":{"name":"b"}})",
                  {"roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":"
                   "\"b\"}: cannot change roleRef"}}});
}

TEST(Cases, Others) {
  expect("leases", R"({"spec":{"leaseDurationSeconds":5}})",
         {{R"({"spec":{"holderIdentity":""}})", {}},
          {R"({"spec":{"preferredHolder":"a"}})",
           {"spec.preferredHolder: Forbidden: may only be specified when `strategy` is defined"}},
          {R"({"spec":{"leaseDurationSeconds":0,"leaseTransitions":-1}})",
           {"spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
            "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0"}}});
  expect("secrets", R"({"type":"kubernetes.io/dockerconfigjson","data":{".dockerconfigjson":"e30="}})",
         {{R"({"data":{".dockerconfigjson":"eA=="}})",
           {"data[.dockerconfigjson]: Invalid value: \"<secret contents redacted>\": invalid character in JSON"}},
          {R"({"type":"kubernetes.io/service-account-token"})",
           {"metadata.annotations[kubernetes.io/service-account.name]: Required value"}}});
  expect_update("nodes", R"({"spec":{"providerID":"a"}})",
                {{R"({"spec":{"providerID":"b"}})",
                  {"spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid"}}});
  expect_update("priorityclasses", R"({"value":1})",
                {{R"({"value":2,"description":"x"})", {"value: Forbidden: may not be changed in an update."}}});
}

TEST(Cases, CertificatesAreApprovedOnce) {
  const auto said = [](const char* before, const char* now) {
    Problems problems;
    validate_update(given_object("certificatesigningrequests", Json::parse(now)),
                    given_object("certificatesigningrequests", Json::parse(before)), "approval", problems);
    return lines(problems);
  };
  constexpr const char* kApproved = R"({"status":{"conditions":[{"type":"Approved","status":"True"}]}})";
  EXPECT_THAT(said("{}", kApproved), ElementsAreArray(Lines()));
  EXPECT_THAT(
      said(kApproved, "{}"),
      ElementsAreArray(Lines{"status.conditions: Forbidden: updates may not remove a condition of type \"Approved\""}));
  EXPECT_THAT(
      said("{}",
           R"({"status":{"conditions":[{"type":"Approved","status":"False"},{"type":"Denied","status":"True"}]}})"),
      ElementsAreArray(Lines{"status.conditions[0].status: Unsupported value: \"False\": supported values: \"True\"",
                             "status.conditions: Invalid value: \"Denied\": Approved and Denied conditions are "
                             "mutually exclusive"}));
}

}  // namespace
}  // namespace gantry::apigw
