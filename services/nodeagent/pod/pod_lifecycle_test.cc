// Hooks, sidecars, ephemeral containers, restart rules: the finer points of a pod's life, on the pure decision.
#include "services/nodeagent/pod/testing/story.h"

namespace gantry::nodeagent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;
using Kind = ContainerStateValue::Kind;

class PodLifecycleTest : public PodStory {
 protected:
  static std::string deleted(int64_t grace) {
    return fmt::format(R"(,"deletionTimestamp":"2023-11-14T22:13:50Z","deletionGracePeriodSeconds":{})", grace);
  }
};

TEST_F(PodLifecycleTest, AContainersOwnPolicyStandsBeforeThePods) {
  pod(R"({"restartPolicy":"Always","containers":[{"name":"web","image":"i","restartPolicy":"Never"}]})");
  running_pod();
  ended(runtime_.containers[0], 1);
  EXPECT_THAT(decide(), ElementsAre("stop-sandbox/s0"));
  EXPECT_EQ(last_.status.phase, "Failed");
}

TEST_F(PodLifecycleTest, ARestartRuleStandsBeforeThePolicy) {
  pod(R"({"restartPolicy":"Never","containers":[{"name":"web","image":"i","restartPolicy":"Never",
      "restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"In","values":[42,43]}}]}]})");
  running_pod();
  ended(runtime_.containers[0], 42);
  EXPECT_THAT(decide(), ElementsAre("launch/web#1"));
  EXPECT_EQ(last_.status.phase, "Running");
  launched("web", 1);
  ended(runtime_.containers[0], 1);
  EXPECT_THAT(decide(), ElementsAre("stop-sandbox/s0"));
  EXPECT_EQ(last_.status.phase, "Failed");
}

TEST_F(PodLifecycleTest, ARuleOfAllCodesButSome) {
  pod(R"({"restartPolicy":"Never","containers":[{"name":"web","image":"i","restartPolicy":"Never",
      "restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"NotIn","values":[0,7]}}]}]})");
  running_pod();
  ended(runtime_.containers[0], 9);
  EXPECT_THAT(decide(), ElementsAre("launch/web#1"));
  ended(launched("web", 1), 7);
  EXPECT_THAT(decide(), ElementsAre("stop-sandbox/s0"));
}

TEST_F(PodLifecycleTest, AnInitContainersRuleKeepsThePodAlive) {
  pod(R"({"restartPolicy":"Never","initContainers":[{"name":"a","image":"i","restartPolicy":"Never",
      "restartPolicyRules":[{"action":"Restart","exitCodes":{"operator":"In","values":[3]}}]}],
      "containers":[{"name":"web","image":"i"}]})");
  decide();
  finish("prepare");
  sandbox("s0");
  decide();
  ended(launched("a"), 3);
  EXPECT_THAT(decide(), ElementsAre("launch/a#1"));
  EXPECT_EQ(last_.status.phase, "Pending");
  ended(launched("a", 1), 4);
  decide();
  EXPECT_EQ(last_.status.phase, "Failed");
}

TEST_F(PodLifecycleTest, SidecarsEndAfterTheOthersTheLastFirst) {
  pod(R"({"initContainers":[{"name":"a","image":"i","restartPolicy":"Always"},{"name":"b","image":"i","restartPolicy":"Always"}],
      "containers":[{"name":"web","image":"i"}]})");
  decide();
  finish("prepare");
  sandbox("s0");
  decide();
  launched("a");
  decide();
  launched("b");
  decide();
  launched("web");
  decide();
  EXPECT_EQ(last_.status.phase, "Running");
  pod(R"({"initContainers":[{"name":"a","image":"i","restartPolicy":"Always"},{"name":"b","image":"i","restartPolicy":"Always"}],
      "containers":[{"name":"web","image":"i"}]})",
      deleted(20));
  EXPECT_THAT(decide(), ElementsAre("stop/web-0 grace=20"));
  EXPECT_EQ(last_.requeue_at, now_ + 20 * kSecond) << "nobody waits longer than the grace";
  now_ += 8 * kSecond;
  ended(at("web-0"), 0);
  finish("stop/web-0");
  EXPECT_THAT(decide(), ElementsAre("stop/b-0 grace=12"));
  EXPECT_EQ(last_.status.phase, "Running") << "sidecars still run";
  now_ += 11 * kSecond;
  ended(at("b-0"), 0);
  finish("stop/b-0");
  EXPECT_THAT(decide(), ElementsAre("stop/a-0 grace=2")) << "who had to wait still gets a little";
  ended(at("a-0"), 0);
  finish("stop/a-0");
  EXPECT_THAT(decide(), ElementsAre("stop-sandbox/s0"));
  EXPECT_EQ(last_.status.phase, "Succeeded");
}

TEST_F(PodLifecycleTest, AFinishedJobEndsItsSidecars) {
  const char* spec =
      R"({"restartPolicy":"Never","initContainers":[{"name":"side","image":"i","restartPolicy":"Always"}],
      "containers":[{"name":"web","image":"i"}]})";
  pod(spec);
  decide();
  finish("prepare");
  sandbox("s0");
  decide();
  launched("side");
  decide();
  launched("web");
  decide();
  ended(at("web-0"), 0);
  EXPECT_THAT(decide(), ElementsAre("stop/side-0 grace=30"));
  EXPECT_EQ(last_.status.phase, "Running");
  ended(at("side-0"), 137);
  finish("stop/side-0");
  decide();
  EXPECT_EQ(last_.status.phase, "Succeeded") << "a sidecar's end says nothing of the work";
}

TEST_F(PodLifecycleTest, ThePreStopHookRunsBeforeTheStopAndCounts) {
  const char* spec = R"({"containers":[{"name":"web","image":"i","lifecycle":{"preStop":{"sleep":{"seconds":5}}}}]})";
  pod(spec);
  running_pod();
  pod(spec, deleted(30));
  EXPECT_THAT(decide(), ElementsAre("pre-stop/web-0"));
  EXPECT_EQ(last_.actions[0].grace_seconds, 30);
  EXPECT_EQ(last_.notes.at(0).reason, "Killing");
  now_ += 5 * kSecond;
  memory_.stops["web-0"].hook_done = true;
  finish("pre-stop/web-0");
  EXPECT_THAT(decide(), ElementsAre("stop/web-0 grace=25"));
  EXPECT_THAT(last_.notes, IsEmpty()) << "told once";
}

TEST_F(PodLifecycleTest, AHookThatHangsIsOvertakenByTheDeadline) {
  const char* spec = R"({"containers":[{"name":"web","image":"i","lifecycle":{"preStop":{"sleep":{"seconds":50}}}}]})";
  pod(spec);
  running_pod();
  pod(spec, deleted(30));
  decide();
  now_ += 10 * kSecond;
  pod(spec, deleted(1));
  EXPECT_THAT(decide(), IsEmpty());
  EXPECT_EQ(last_.requeue_at, now_ + kSecond);
  now_ += kSecond;
  EXPECT_THAT(decide(), ElementsAre("stop/web-0 grace=2"));
}

TEST_F(PodLifecycleTest, WithoutGraceThereIsNoHook) {
  const char* spec = R"({"containers":[{"name":"web","image":"i","lifecycle":{"preStop":{"sleep":{"seconds":5}}}}]})";
  pod(spec);
  running_pod();
  pod(spec, deleted(0));
  EXPECT_THAT(decide(), ElementsAre("stop/web-0 grace=0"));
}

TEST_F(PodLifecycleTest, APostStartHookHoldsReadinessAndItsFailureRestarts) {
  pod(R"({"containers":[{"name":"web","image":"i","lifecycle":{"postStart":{"exec":{"command":["x"]}}}}]})");
  decide();
  finish("prepare");
  sandbox("s0");
  decide();
  memory_.hooking.insert("web-0");
  launched("web");
  EXPECT_THAT(decide(), IsEmpty());
  EXPECT_EQ(last_.status.containers[0].state.reason, "ContainerCreating");
  EXPECT_EQ(last_.status.phase, "Pending");
  memory_.hooking.clear();
  decide();
  EXPECT_TRUE(condition("Ready").status);
  memory_.hook_failures["web-0"] = "no such file";
  EXPECT_THAT(decide(), ElementsAre("stop/web-0 grace=30"));
  ended(at("web-0"), 143);
  finish("stop/web-0");
  EXPECT_THAT(decide(), ElementsAre("launch/web#1"));
}

TEST_F(PodLifecycleTest, AnEphemeralContainerRunsOnceBesideTheOthers) {
  pod(kWebSpec);
  running_pod();
  pod(R"({"containers":[{"name":"web","image":"demo:1"}],"ephemeralContainers":[{"name":"debug","image":"i"}]})");
  EXPECT_THAT(decide(), ElementsAre("launch/debug#0"));
  EXPECT_EQ(last_.status.ephemeral.at(0).state.kind, Kind::kWaiting);
  EXPECT_TRUE(condition("Ready").status);
  launched("debug");
  decide();
  EXPECT_EQ(last_.status.ephemeral[0].state.kind, Kind::kRunning);
  ended(at("debug-0"), 1);
  EXPECT_THAT(decide(), IsEmpty());
  EXPECT_EQ(last_.status.ephemeral[0].state.kind, Kind::kTerminated);
  EXPECT_EQ(last_.status.phase, "Running");
  EXPECT_TRUE(condition("Ready").status);
  std::erase_if(runtime_.containers, [](const Container& c) { return c.name == "debug"; });
  EXPECT_THAT(decide(), IsEmpty()) << "not again, although the runtime has forgotten it";
}

TEST_F(PodLifecycleTest, EndingWaitsForNoPullButForACreation) {
  pod(kWebSpec);
  decide();
  finish("prepare");
  sandbox("s0");
  decide();
  pod(kWebSpec, deleted(30));
  EXPECT_THAT(decide(), ElementsAre("stop-sandbox/s0"));
  memory_.in_flight.erase("stop-sandbox/s0");
  memory_.uncreated.clear();
  EXPECT_THAT(decide(), IsEmpty()) << "a container may come of it";
}

TEST_F(PodLifecycleTest, ALivenessProbesOwnGraceAndTheStartupProbesOwn) {
  pod(R"({"containers":[{"name":"web","image":"i",
      "startupProbe":{"tcpSocket":{"port":80},"terminationGracePeriodSeconds":4},
      "livenessProbe":{"tcpSocket":{"port":80},"terminationGracePeriodSeconds":6}}]})");
  running_pod();
  memory_.probes["web-0"] = {false, false, false, "refused"};
  EXPECT_THAT(decide(), ElementsAre("stop/web-0 grace=4"));
  EXPECT_EQ(last_.notes.at(0).message, "Container web failed startup probe, will be restarted");
  ended(at("web-0"), 137);
  finish("stop/web-0");
  decide();
  launched("web", 1);
  memory_.probes["web-1"] = {true, true, false, "refused"};
  EXPECT_THAT(decide(), ElementsAre("stop/web-1 grace=6"));
}

TEST_F(PodLifecycleTest, ATerminatedPodHasFailedAndSaysWhy) {
  pod(kWebSpec);
  running_pod();
  memory_.termination = Termination{"Evicted", "The node was low on resource: memory.", 1, true};
  EXPECT_THAT(decide(), ElementsAre("stop/web-0 grace=1"));
  EXPECT_EQ(last_.status.phase, "Running");
  EXPECT_TRUE(condition("DisruptionTarget").status) << "told at once";
  ended(at("web-0"), 0);
  decide();
  EXPECT_EQ(last_.status.phase, "Failed");
  EXPECT_EQ(last_.status.reason, "Evicted");
  EXPECT_EQ(condition("DisruptionTarget").reason, "TerminationByKubelet");
}

TEST_F(PodLifecycleTest, BetweenTheMakingAndTheStartOfTheNextRunItHasNotFailed) {
  pod(R"({"restartPolicy":"OnFailure","containers":[{"name":"web","image":"i"}]})");
  running_pod();
  ended(runtime_.containers[0], 1);
  decide();
  launched("web", 1, ContainerState::kCreated);
  decide();
  EXPECT_EQ(last_.status.phase, "Running");
}

TEST_F(PodLifecycleTest, AStartThatACrashBrokeOffIsNoRun) {
  pod(R"({"restartPolicy":"Never","containers":[{"name":"web","image":"i"}]})");
  memory_.prepared = true;
  sandbox("s0");
  auto& c = launched("web");
  ended(c, 128);
  c.reason = "StartError";
  c.started_at = 0;
  EXPECT_THAT(decide(), ElementsAre("launch/web#1"));
  auto& again = launched("web", 1);
  ended(again, 128);
  again.reason = "StartError";
  again.started_at = 0;
  memory_.failed_starts.insert("web-1");
  decide();
  EXPECT_EQ(last_.status.phase, "Failed") << "this one we saw fail";
}

TEST_F(PodLifecycleTest, ReadinessGatesSayWhatTheyWaitFor) {
  const char* spec =
      R"({"readinessGates":[{"conditionType":"a/b"},{"conditionType":"c/d"}],"containers":[{"name":"web","image":"i"}]})";
  pod(spec, "", R"({"conditions":[{"type":"c/d","status":"False"}]})");
  running_pod();
  EXPECT_TRUE(condition("ContainersReady").status);
  EXPECT_FALSE(condition("Ready").status);
  EXPECT_EQ(condition("Ready").message,
            "corresponding condition of pod readiness gate \"a/b\" does not exist., "
            "the status of pod readiness gate \"c/d\" is not \"True\", but False");
  pod(spec, "", R"({"conditions":[{"type":"c/d","status":"True"},{"type":"a/b","status":"True"}]})");
  decide();
  EXPECT_TRUE(condition("Ready").status);
}

TEST_F(PodLifecycleTest, MessagesShareTheirSpace) {
  pod(R"({"restartPolicy":"Never","containers":[{"name":"a","image":"i"},{"name":"b","image":"i"},{"name":"c","image":"i"},{"name":"d","image":"i"}]})");
  decide();
  finish("prepare");
  sandbox("s0");
  decide();
  for (const char* name : {"a", "b", "c", "d"}) {
    ended(launched(name), 1);
    memory_.termination_messages[fmt::format("{}-0", name)] = std::string(4096, 'x');
  }
  decide();
  for (const auto& c : last_.status.containers) EXPECT_EQ(c.state.message.size(), 3072u);
}

TEST_F(PodLifecycleTest, StatusTellsResourcesMountsAndGenerations) {
  pod(R"({"containers":[{"name":"web","image":"demo:1","resources":{"requests":{"cpu":"100m"},"limits":{"memory":"64Mi"}},
      "volumeMounts":[{"name":"v","mountPath":"/v"},{"name":"r","mountPath":"/r","readOnly":true}]}]})",
      R"(,"generation":3)",
      R"({"nominatedNodeName":"n9","resourceClaimStatuses":[{"name":"c","resourceClaimName":"c-1"}]})");
  decide();
  finish("prepare");
  sandbox("s0");
  decide();
  launched("web").user = ContainerUser{1000, 1001, {5}};
  decide();
  const auto& kind = *model::Schema::get().by_resource("pods");
  auto bytes = encode_status("default", "web", "u1", last_.status, object_.as<core::Pod>());
  ASSERT_TRUE(model::verify(*kind.type, bytes));
  model::Object encoded(kind, bytes);
  EXPECT_EQ(decode_status(*encoded.as<core::Pod>()), last_.status);
  auto json = model::to_json(encoded);
  EXPECT_THAT(
      json,
      HasSubstr(
          R"("allocatedResources":{"cpu":"100m"},"resources":{"limits":{"memory":"64Mi"},"requests":{"cpu":"100m"}})"));
  EXPECT_THAT(json, HasSubstr(R"({"name":"r","mountPath":"/r","readOnly":true,"recursiveReadOnly":"Disabled"})"));
  EXPECT_THAT(json, HasSubstr(R"("user":{"linux":{"uid":1000,"gid":1001,"supplementalGroups":[5]}})"));
  EXPECT_THAT(json, HasSubstr(R"("nominatedNodeName":"n9")"));
  EXPECT_THAT(json, HasSubstr(R"("resourceClaimStatuses":[{"name":"c","resourceClaimName":"c-1"}])"));
  EXPECT_EQ(condition("Ready").observed_generation, 3);
}

}  // namespace
}  // namespace gantry::nodeagent
