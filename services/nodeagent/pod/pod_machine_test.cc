#include "services/nodeagent/pod/pod_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/nodeagent/pod/testing/story.h"

namespace gantry::nodeagent {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Kind = ContainerStateValue::Kind;

class PodMachineTest : public PodStory {};

constexpr char kWeb[] = R"({"containers":[{"name":"web","image":"demo:1"}]})";

TEST_F(PodMachineTest, RunsAPodFromNothing) {
  pod(kWeb);
  EXPECT_THAT(decide(), ElementsAre("prepare", "sandbox"));
  EXPECT_EQ(last_.status.phase, "Pending");
  EXPECT_EQ(last_.status.containers[0].state.reason, "ContainerCreating");
  EXPECT_THAT(decide(), IsEmpty()) << "what is under way is not asked for again";
  finish("prepare");
  EXPECT_THAT(decide(), IsEmpty());
  sandbox("s0");
  EXPECT_THAT(decide(), ElementsAre("launch/web#0"));
  EXPECT_TRUE(condition("PodReadyToStartContainers").status);
  now_ += kSecond;
  launched("web");
  EXPECT_THAT(decide(), IsEmpty());
  EXPECT_EQ(last_.status.phase, "Running");
  EXPECT_TRUE(condition("Ready").status);
  EXPECT_EQ(condition("Ready").transition, now_ / kSecond);
  EXPECT_EQ(condition("Initialized").transition, kStart / kSecond) << "kept where nothing changed";
  EXPECT_THAT(last_.status.pod_ips, ElementsAre("10.244.0.7"));
  EXPECT_EQ(last_.status.containers[0].container_id, "containerd://web-0");
  EXPECT_EQ(last_.status.qos_class, "BestEffort");
}

TEST_F(PodMachineTest, AdoptsWhatRuns) {
  pod(kWeb, "", R"({"phase":"Running","startTime":"2023-11-14T22:00:00Z"})");
  sandbox("s0");
  launched("web", 3);
  EXPECT_THAT(decide(), ElementsAre("prepare")) << "volumes are checked, nothing is restarted";
  finish("prepare");
  EXPECT_THAT(decide(), IsEmpty());
  EXPECT_EQ(last_.status.containers[0].restart_count, 3);
  EXPECT_EQ(last_.status.start_time, 1'699'999'200);
}

TEST_F(PodMachineTest, RestartsAtOnceThenBacksOffDoubling) {
  pod(kWeb);
  running_pod();
  int64_t expected = 0;
  for (uint32_t attempt = 1; attempt <= 8; ++attempt) {
    now_ += kSecond;
    ended(runtime_.containers[0], 1);
    auto actions = decide();
    if (expected > 0) {
      EXPECT_THAT(actions, IsEmpty()) << attempt;
      EXPECT_EQ(last_.status.containers[0].state.reason, "CrashLoopBackOff");
      EXPECT_EQ(last_.status.containers[0].last_state.exit_code, 1);
      EXPECT_EQ(last_.requeue_at, now_ + expected * kSecond);
      EXPECT_EQ(last_.notes.size(), 1u);
      now_ += expected * kSecond;
      actions = decide();
    }
    EXPECT_THAT(actions, ElementsAre(fmt::format("launch/web#{}", attempt)));
    launched("web", attempt);
    while (runtime_.containers.size() > 2) runtime_.containers.pop_back();
    decide();
    EXPECT_EQ(last_.status.containers[0].restart_count, static_cast<int>(attempt));
    EXPECT_EQ(last_.status.phase, "Running");
    expected = expected == 0 ? 10 : std::min<int64_t>(300, expected * 2);
  }
  now_ += 601 * kSecond;
  ended(runtime_.containers[0], 1);
  EXPECT_THAT(decide(), ElementsAre("launch/web#9")) << "ten minutes of running forgive";
}

TEST_F(PodMachineTest, ARestartedAgentDoesNotForgetTheCrashLoop) {
  pod(kWeb);
  memory_.prepared = true;
  sandbox("s0");
  ended(launched("web", 2), 1);
  EXPECT_THAT(decide(), IsEmpty());
  EXPECT_EQ(last_.requeue_at, now_ + 20 * kSecond);
}

TEST_F(PodMachineTest, RestartPolicyDecidesTheEnd) {
  pod(R"({"restartPolicy":"Never","containers":[{"name":"web","image":"demo:1"}]})");
  running_pod();
  ended(runtime_.containers[0], 3);
  EXPECT_THAT(decide(), ElementsAre("stop-sandbox/s0"));
  EXPECT_EQ(last_.status.phase, "Failed");
  EXPECT_EQ(last_.status.containers[0].state.reason, "Error");
  runtime_.sandboxes[0].ready = false;
  memory_.stopped_sandboxes.insert("s0");
  finish("stop-sandbox/s0");
  EXPECT_THAT(decide(), ElementsAre("release")) << "volumes are for others now";
  EXPECT_THAT(decide(), IsEmpty());
  finish("release");
  EXPECT_THAT(decide(), IsEmpty()) << "containers and logs stay until the pod is deleted";
  EXPECT_EQ(last_.status.phase, "Failed");
}

TEST_F(PodMachineTest, OnFailureSucceedsOnceItEndsWell) {
  pod(R"({"restartPolicy":"OnFailure","containers":[{"name":"web","image":"demo:1"}]})");
  running_pod();
  ended(runtime_.containers[0], 1);
  EXPECT_THAT(decide(), ElementsAre("launch/web#1"));
  ended(launched("web", 1), 0);
  EXPECT_THAT(decide(), ElementsAre("stop-sandbox/s0"));
  EXPECT_EQ(last_.status.phase, "Succeeded");
  EXPECT_EQ(last_.status.containers[0].state.reason, "Completed");
}

TEST_F(PodMachineTest, InitContainersInOrder) {
  pod(R"({"initContainers":[{"name":"a","image":"i"},{"name":"b","image":"i"}],"containers":[{"name":"web","image":"demo:1"}]})");
  decide();
  finish("prepare");
  sandbox("s0");
  EXPECT_THAT(decide(), ElementsAre("launch/a#0"));
  auto* a = &launched("a");
  EXPECT_THAT(decide(), IsEmpty());
  EXPECT_EQ(last_.status.containers[0].state.reason, "PodInitializing");
  EXPECT_EQ(condition("Initialized").message, "containers with incomplete status: [a b]");
  ended(*a, 1);
  EXPECT_THAT(decide(), ElementsAre("launch/a#1"));
  ended(launched("a", 1), 0);
  EXPECT_THAT(decide(), ElementsAre("launch/b#0"));
  ended(launched("b"), 0);
  EXPECT_THAT(decide(), ElementsAre("launch/web#0"));
  launched("web");
  EXPECT_THAT(decide(), IsEmpty());
  EXPECT_TRUE(condition("Initialized").status);
  EXPECT_EQ(last_.status.init_containers[0].state.reason, "Completed");
}

TEST_F(PodMachineTest, AFailedInitContainerFailsAPodThatNeverRestarts) {
  pod(R"({"restartPolicy":"Never","initContainers":[{"name":"a","image":"i"}],"containers":[{"name":"web","image":"demo:1"}]})");
  decide();
  finish("prepare");
  sandbox("s0");
  decide();
  ended(launched("a"), 1);
  decide();
  EXPECT_EQ(last_.status.phase, "Failed");
}

TEST_F(PodMachineTest, ASidecarStartsBeforeAndRunsBeside) {
  pod(R"({"initContainers":[{"name":"side","image":"i","restartPolicy":"Always"}],"containers":[{"name":"web","image":"demo:1"}]})");
  decide();
  finish("prepare");
  sandbox("s0");
  EXPECT_THAT(decide(), ElementsAre("launch/side#0"));
  launched("side");
  EXPECT_THAT(decide(), ElementsAre("launch/web#0"));
  launched("web");
  decide();
  EXPECT_TRUE(condition("Ready").status);
  ended(runtime_.containers[1], 0);
  EXPECT_THAT(decide(), ElementsAre("launch/side#1"));
}

TEST_F(PodMachineTest, ADeletedPodIsStoppedRemovedAndConfirmed) {
  pod(kWeb);
  running_pod();
  pod(kWeb, R"(,"deletionTimestamp":"2023-11-14T22:13:50Z","deletionGracePeriodSeconds":7)");
  EXPECT_THAT(decide(), ElementsAre("stop/web-0 grace=7"));
  EXPECT_THAT(decide(), IsEmpty());
  ended(runtime_.containers[0], 0);
  finish("stop/web-0");
  EXPECT_THAT(decide(), ElementsAre("stop-sandbox/s0"));
  EXPECT_FALSE(condition("Ready").status);
  memory_.stopped_sandboxes.insert("s0");
  runtime_.sandboxes[0].ready = false;
  finish("stop-sandbox/s0");
  EXPECT_THAT(decide(), ElementsAre("remove-sandbox/s0"));
  runtime_ = RuntimePod();
  finish("remove-sandbox/s0");
  EXPECT_THAT(decide(), ElementsAre("cleanup"));
  EXPECT_EQ(last_.status.containers[0].state.kind, Kind::kTerminated)
      << "the last truth, although the runtime has forgotten";
  finish("cleanup");
  EXPECT_THAT(decide(), ElementsAre("confirm"));
  EXPECT_FALSE(last_.finished);
  desired_ = false;
  finish("confirm");
  decide();
  EXPECT_TRUE(last_.finished);
}

TEST_F(PodMachineTest, AShorterGraceOvertakes) {
  pod(kWeb);
  running_pod();
  pod(kWeb, R"(,"deletionTimestamp":"2023-11-14T22:13:50Z","deletionGracePeriodSeconds":300)");
  EXPECT_THAT(decide(), ElementsAre("stop/web-0 grace=300"));
  pod(kWeb, R"(,"deletionTimestamp":"2023-11-14T22:13:50Z","deletionGracePeriodSeconds":1)");
  EXPECT_THAT(decide(), ElementsAre("stop/web-0/1 grace=1"));
}

TEST_F(PodMachineTest, OrphansGoWithTheGraceThatTheRuntimeWasTold) {
  desired_ = false;
  sandbox("s0");
  runtime_.sandboxes[0].annotations[kGracePeriodAnnotation] = "4";
  launched("web");
  EXPECT_THAT(decide(), ElementsAre("stop/web-0 grace=4"));
}

TEST_F(PodMachineTest, ALostSandboxIsReplacedAndCountsGoOn) {
  pod(kWeb);
  running_pod();
  runtime_.sandboxes[0].ready = false;
  ended(runtime_.containers[0], 137);
  EXPECT_THAT(decide(), ElementsAre("stop-sandbox/s0"));
  memory_.stopped_sandboxes.insert("s0");
  finish("stop-sandbox/s0");
  EXPECT_THAT(decide(), ElementsAre("sandbox"));
  EXPECT_EQ(last_.actions[0].attempt, 1u);
  sandbox("s1", 1);
  EXPECT_THAT(decide(), ElementsAre("launch/web#1"));
  launched("web", 1);
  EXPECT_THAT(decide(), ElementsAre("remove-sandbox/s0"));
  EXPECT_EQ(last_.status.containers[0].last_state.exit_code, 137);
}

TEST_F(PodMachineTest, AFailedPullShowsAndIsTriedAgain) {
  pod(kWeb);
  decide();
  finish("prepare");
  sandbox("s0");
  decide();
  finish("launch/web");
  memory_.launch_failures["web"].fail("ErrImagePull", "no such host", now_);
  EXPECT_THAT(decide(), IsEmpty());
  EXPECT_EQ(last_.status.containers[0].state.reason, "ErrImagePull");
  EXPECT_EQ(last_.requeue_at, now_ + 2 * kSecond);
  now_ += 2 * kSecond;
  EXPECT_THAT(decide(), IsEmpty());
  EXPECT_EQ(last_.status.containers[0].state.reason, "ImagePullBackOff");
  ASSERT_EQ(last_.notes.size(), 2U);
  EXPECT_EQ(last_.notes[0].message, "Back-off pulling image \"demo:1\"");
  now_ += kSecond;
  decide();
  EXPECT_TRUE(last_.notes.empty()) << "once a wait";
  now_ += 7 * kSecond;
  EXPECT_THAT(decide(), ElementsAre("launch/web#0"));
}

TEST_F(PodMachineTest, ProbesDecideReadinessAndRestart) {
  pod(R"({"containers":[{"name":"web","image":"demo:1","readinessProbe":{"tcpSocket":{"port":80}},"livenessProbe":{"tcpSocket":{"port":80}}}]})");
  running_pod();
  EXPECT_FALSE(condition("Ready").status);
  EXPECT_EQ(condition("Ready").message, "containers with unready status: [web]");
  memory_.probes["web-0"] = {true, true, true, ""};
  decide();
  EXPECT_TRUE(condition("Ready").status);
  memory_.probes["web-0"] = {true, true, false, "connection refused"};
  EXPECT_THAT(decide(), ElementsAre("stop/web-0 grace=30"));
}

TEST_F(PodMachineTest, ActiveDeadline) {
  pod(R"({"activeDeadlineSeconds":5,"containers":[{"name":"web","image":"demo:1"}]})");
  running_pod();
  EXPECT_EQ(last_.requeue_at, kStart + 5 * kSecond);
  now_ = *last_.requeue_at;
  EXPECT_THAT(decide(), ElementsAre("stop/web-0 grace=30"));
  EXPECT_EQ(last_.status.phase, "Running") << "until nothing of it runs";
  ended(runtime_.containers[0], 0);
  decide();
  EXPECT_EQ(last_.status.phase, "Failed");
  EXPECT_EQ(last_.status.reason, "DeadlineExceeded");
}

TEST_F(PodMachineTest, StatusSurvivesItsEncoding) {
  pod(kWeb);
  running_pod();
  ended(runtime_.containers[0], 1);
  decide();
  const auto& kind = *model::Schema::get().by_resource("pods");
  auto bytes = encode_status("default", "web", "u1", last_.status, nullptr);
  ASSERT_TRUE(model::verify(*kind.type, bytes));
  model::Object encoded(kind, bytes);
  EXPECT_EQ(decode_status(*encoded.as<core::Pod>()), last_.status);
  EXPECT_EQ(encoded.uid(), "u1");
}

}  // namespace
}  // namespace gantry::nodeagent
