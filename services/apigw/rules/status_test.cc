// What the status of a kind may become.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "services/apigw/rules/rules.h"
#include "services/apigw/rules/testing/given.h"

namespace gantry::apigw {
namespace {

using ::testing::ElementsAreArray;
using Json = nlohmann::json;
using testing::given_object;
using testing::lines;
using Lines = std::vector<std::string>;

void expect(const char* resource, const char* before, const char* change, const Lines& wrong) {
  Json json = Json::parse(before);
  json.merge_patch(Json::parse(change));
  Problems problems;
  validate_update(given_object(resource, json), given_object(resource, Json::parse(before)), "status", problems);
  EXPECT_THAT(lines(problems), ElementsAreArray(wrong)) << resource << " " << change;
}

TEST(StatusRules, Counts) {
  expect("deployments", R"({"status":{"collisionCount":2}})",
         R"({"status":{"replicas":2,"readyReplicas":3,"availableReplicas":1,"updatedReplicas":-1,"collisionCount":1}})",
         {"status.updatedReplicas: Invalid value: -1: must be greater than or equal to 0",
          "status.readyReplicas: Invalid value: 3: cannot be greater than status.replicas",
          "status.collisionCount: Invalid value: 1: cannot be decremented"});
  expect("daemonsets", "{}", R"({"status":{"numberReady":-1}})",
         {"status.numberReady: Invalid value: -1: must be greater than or equal to 0"});
  expect("poddisruptionbudgets", "{}",
         R"({"status":{"expectedPods":-2,"conditions":[{"type":"DisruptionAllowed","status":"Maybe","reason":"x"}]}})",
         {"status.expectedPods: Invalid value: -2: must be greater than or equal to 0",
          "status.conditions[0].status: Unsupported value: \"Maybe\": supported values: \"False\", \"True\", "
          "\"Unknown\"",
          "status.conditions[0].lastTransitionTime: Required value: must be set"});
}

TEST(StatusRules, Pods) {
  constexpr const char* kEnded =
      R"({"spec":{"restartPolicy":"Never"},"status":{"phase":"Running","containerStatuses":[{"name":"a","state":{"terminated":{"exitCode":1}}}]}})";
  constexpr const char* kAgain = R"({"status":{"containerStatuses":[{"name":"a","state":{"running":{}}}]}})";
  expect("pods", kEnded, kAgain,
         {"status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"});
  Json restarts = Json::parse(kEnded);
  for (const char* policy : {"Always", "OnFailure"}) {
    restarts["spec"]["restartPolicy"] = policy;
    expect("pods", restarts.dump().c_str(), kAgain, {});
  }
  restarts["spec"]["restartPolicy"] = "Never";
  restarts["spec"]["containers"] = Json::parse(
      R"([{"name":"a","restartPolicy":"Never","restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"In","values":[1]}}]}])");
  expect("pods", restarts.dump().c_str(), kAgain, {});
  expect("pods", "{}", R"({"status":{"phase":"Lost","podIPs":[{"ip":"10.0.0.1"},{"ip":"x"}]}})",
         {"status.phase: Unsupported value: \"Lost\": supported values: \"Failed\", \"Pending\", \"Running\", "
          "\"Succeeded\", \"Unknown\"",
          "status.podIPs[1]: Invalid value: \"x\": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
          "status.podIPs: Invalid value: null: may specify no more than one IP for each IP family"});
}

TEST(StatusRules, Jobs) {
  expect("jobs", R"({"status":{"conditions":[{"type":"Complete","status":"True"}]}})",
         R"({"status":{"conditions":[],"completionTime":"2026-01-01T00:00:00Z"}})",
         {"status.conditions: Invalid value: null: cannot disable the terminal Complete=True condition",
          "status.completionTime: Invalid value: \"2026-01-01T00:00:00Z\": cannot set completionTime when there is no "
          "Complete=True condition"});
}

TEST(StatusRules, Others) {
  expect(
      "nodes", "{}",
      R"({"status":{"capacity":{"cpu":"-1"},"addresses":[{"type":"Hostname","address":"a"},{"type":"Hostname","address":"a"}]}})",
      {"status.capacity[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
       "status.addresses[1]: Duplicate value: {\"type\":\"Hostname\",\"address\":\"a\"}"});
  expect("namespaces", R"({"status":{"phase":"Active"}})", R"({"status":{"phase":"Terminating"}})",
         {"status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty"});
  expect("services", R"({"spec":{"type":"ClusterIP"}})",
         R"({"status":{"loadBalancer":{"ingress":[{"hostname":"10.0.0.1"}]}}})",
         {"status.loadBalancer.ingress[0].hostname: Invalid value: \"10.0.0.1\": must be a DNS name, not an IP address",
          "status.loadBalancer.ingress: Forbidden: may only be used when `spec.type` is LoadBalancer"});
  expect("persistentvolumeclaims", "{}", R"({"status":{"allocatedResourceStatuses":{"storage":"Growing"}}})",
         {"status.allocatedResourceStatuses[storage]: Unsupported value: \"Growing\": supported values: "
          "\"ControllerResizeInProgress\", \"ControllerResizeInfeasible\", \"NodeResizeInProgress\", "
          "\"NodeResizeInfeasible\", \"NodeResizePending\""});
  expect("resourceclaims", R"({"spec":{"devices":{"requests":[{"name":"a"}]}}})",
         R"({"status":{"reservedFor":[{"resource":"pods","name":"p","uid":"u"}]}})",
         {"status.reservedFor: Forbidden: may not be specified when `allocated` is not set"});
}

}  // namespace
}  // namespace gantry::apigw
