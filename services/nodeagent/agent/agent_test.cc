// The agent's whole loop on a manual clock, with a fake runtime and a fake gateway.
#include "services/nodeagent/agent/testing/agent_story.h"

namespace gantry::nodeagent {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class AgentTest : public AgentStory {};

constexpr char kWeb[] = R"({"containers":[{"name":"web","image":"demo:1"}]})";

TEST_F(AgentTest, RunsAPodAndReportsIt) {
  put("web", kWeb);
  EXPECT_EQ(api_.phase("default", "web"), "Running");
  EXPECT_TRUE(api_.ready("default", "web"));
  EXPECT_THAT(status("web"), HasSubstr(R"("podIP":"192.0.2.1")"));
  EXPECT_THAT(events_, Contains("Started: Started container web"));
  EXPECT_EQ(runtime_.last_sandbox.dns_servers, std::vector<std::string>{"10.96.0.10"});
}

TEST_F(AgentTest, AConditionThatAnotherSetWhileWeWereAwayIsCorrected) {
  put("web", kWeb);
  const auto sent = agent_->statuses().counters().sent;
  api_.set_status("default", "web", R"({"phase":"Running","conditions":[{"type":"Ready","status":"False"}]})");
  loop_.drain();
  EXPECT_TRUE(api_.ready("default", "web"));
  loop_.advance(minutes(1));
  EXPECT_EQ(agent_->statuses().counters().sent, sent + 1) << "once, not again and again";
}

TEST_F(AgentTest, ADeletedPodLeavesNothing) {
  put("web", kWeb);
  api_.delete_pod("default", "web", 5);
  EXPECT_TRUE(until([&] { return gone("web"); }));
  EXPECT_THAT(runtime_.calls, Contains("stop_container web 5s"));
}

TEST_F(AgentTest, ContainersEndByTheSignalThatTheyAskFor) {
  put("p", R"({"terminationGracePeriodSeconds":7,
      "containers":[{"name":"main","image":"demo:1","lifecycle":{"stopSignal":"SIGUSR1"}}]})");
  ASSERT_TRUE(until([&] { return api_.ready("default", "p"); }));
  EXPECT_THAT(status("p"), HasSubstr(R"("stopSignal":"SIGUSR1")"));
  start();  // another agent finds it in the runtime
  api_.delete_pod("default", "p", 7);
  EXPECT_TRUE(until([&] { return gone("p"); }));
  EXPECT_THAT(runtime_.calls, Contains("stop_container main 7s SIGUSR1"));
}

TEST_F(AgentTest, APodRemovedByForceIsStillStopped) {
  put("web", kWeb);
  api_.remove_pod("default", "web");
  EXPECT_TRUE(until([&] { return gone("web"); }));
}

TEST_F(AgentTest, ADeletedPodOutlastsARuntimeInTroubleByMoments) {
  put("web", kWeb);
  for (int i = 0; i < 6; ++i) runtime_.fail_next("stop_container", {Code::kUnavailable, "Socket closed"});
  for (int i = 0; i < 4; ++i) runtime_.fail_next("stop_container", {Code::kInternal, "ttrpc: closed"});
  api_.delete_pod("default", "web", 5);
  loop_.drain();
  loop_.advance(seconds(40));
  EXPECT_TRUE(gone("web"));
}

TEST_F(AgentTest, ASecondPodOfTheSameNameRunsBesideTheEndOfTheFirst) {
  put("web", kWeb, "first");
  runtime_.ignore_terminate(true);
  api_.remove_pod("default", "web");
  loop_.drain();
  put("web", kWeb, "second");
  EXPECT_EQ(agent_->size(), 2u);
  EXPECT_EQ(agent_->find("default", "web")->uid(), "second");
  EXPECT_TRUE(until([&] { return runtime_.pod("first") == nullptr; }));
  EXPECT_NE(runtime_.newest("second", "web"), nullptr);
  EXPECT_EQ(agent_->size(), 1u);
}

TEST_F(AgentTest, ARestartedAgentAdopts) {
  put("web", kWeb);
  auto id = runtime_.newest("web", "web")->id;
  runtime_.calls.clear();
  start();
  loop_.advance(minutes(5));
  EXPECT_THAT(runtime_.calls, IsEmpty()) << "nothing was started or stopped";
  EXPECT_EQ(runtime_.newest("web", "web")->id, id);
  EXPECT_TRUE(api_.ready("default", "web"));
}

TEST_F(AgentTest, WhatHappenedWhileTheAgentWasAwayIsReported) {
  put("web", kWeb);
  put("old", kWeb);
  agent_.reset();
  runtime_.exit("web", "web", 3);
  api_.remove_pod("default", "old");
  start();
  EXPECT_TRUE(until([&] { return runtime_.pod("old") == nullptr; })) << "an orphan goes";
  EXPECT_TRUE(until([&] { return status("web").find(R"("restartCount":1)") != std::string::npos; }));
  EXPECT_THAT(status("web"), HasSubstr(R"("exitCode":3)"));
}

TEST_F(AgentTest, NothingIsDecidedWhileTheRuntimeIsAway) {
  put("web", kWeb);
  runtime_.calls.clear();
  runtime_.disconnect();
  for (int i = 0; i < 3; ++i) runtime_.fail_next("observe", {Code::kUnavailable, "away"});
  runtime_.exit("web", "web", 1);
  loop_.drain();
  EXPECT_THAT(runtime_.calls, IsEmpty());
  EXPECT_TRUE(until([&] { return runtime_.newest("web", "web")->attempt == 1; }));
}

TEST_F(AgentTest, NoContainerIsMadeTwice) {
  // Every change of the pod while its launch is under way wakes the worker.
  api_.put(
      "pods",
      R"({"metadata":{"name":"web","namespace":"default","uid":"web"},"spec":{"containers":[{"name":"web","image":"demo:1"}]}})");
  for (int i = 0; i < 20; ++i) {
    api_.put("pods",
             fmt::format(
                 R"({{"metadata":{{"name":"web","namespace":"default","uid":"web","labels":{{"i":"{}"}}}},"spec":{}}})",
                 i, kWeb));
    runtime_.reconnect();
  }
  loop_.drain();
  EXPECT_EQ(std::count(runtime_.calls.begin(), runtime_.calls.end(), "create_container web/0"), 1);
  EXPECT_EQ(std::count(runtime_.calls.begin(), runtime_.calls.end(), "run_sandbox web/0"), 1);
}

TEST_F(AgentTest, MissingConfigMapWaitsUntilItIsThere) {
  put("web",
      R"({"containers":[{"name":"web","image":"demo:1","env":[{"name":"A","valueFrom":{"configMapKeyRef":{"name":"cfg","key":"a"}}}]}]})");
  EXPECT_THAT(status("web"),
              HasSubstr(R"("reason":"CreateContainerConfigError","message":"configmap \"cfg\" not found")"));
  api_.put("configmaps", R"({"metadata":{"name":"cfg","namespace":"default"},"data":{"a":"1"}})");
  EXPECT_TRUE(until([&] { return api_.ready("default", "web"); }, minutes(1)));
  EXPECT_THAT(runtime_.last_configs["web"].env, Contains(std::pair<std::string, std::string>("A", "1")));
}

TEST_F(AgentTest, ImagesArePulledOrTheirAbsenceIsTold) {
  runtime_.only_images({});
  runtime_.fail_next("pull_image", {Code::kInternal, "no such host"});
  put("web", kWeb);
  EXPECT_THAT(status("web"), HasSubstr(R"("reason":"ErrImagePull","message":"no such host")"));
  EXPECT_TRUE(until([&] { return status("web").find("ImagePullBackOff") != std::string::npos; }, seconds(5)));
  EXPECT_TRUE(until([&] { return api_.ready("default", "web"); }, minutes(1)));
  put("never", R"({"containers":[{"name":"web","image":"demo:9","imagePullPolicy":"Never"}]})");
  EXPECT_THAT(status("never"), HasSubstr("ErrImageNeverPull"));
}

TEST_F(AgentTest, APodOfTheHostsNetworkIsProbedAtTheNodesAddress) {
  put("web",
      R"({"hostNetwork":true,"containers":[{"name":"web","image":"demo:1",
      "readinessProbe":{"httpGet":{"path":"/ready","port":8080},"periodSeconds":2}}]})");
  loop_.advance(std::chrono::milliseconds(1));
  EXPECT_THAT(probes_.asked, Contains("http://10.0.0.1:8080/ready"));
}

TEST_F(AgentTest, ReadinessFollowsTheProbeAndLivenessRestarts) {
  probes_.healthy = false;
  put("web",
      R"({"terminationGracePeriodSeconds":3,"containers":[{"name":"web","image":"demo:1","ports":[{"name":"http","containerPort":8080}],
      "readinessProbe":{"httpGet":{"path":"/ready","port":"http"},"periodSeconds":2},
      "livenessProbe":{"tcpSocket":{"port":8080},"periodSeconds":10,"failureThreshold":3}}]})");
  loop_.advance(std::chrono::milliseconds(1));
  EXPECT_EQ(api_.phase("default", "web"), "Running");
  EXPECT_FALSE(api_.ready("default", "web"));
  EXPECT_THAT(probes_.asked, Contains("http://192.0.2.1:8080/ready"));
  probes_.healthy = true;
  EXPECT_TRUE(until([&] { return api_.ready("default", "web"); }, seconds(3)));
  probes_.healthy = false;
  EXPECT_TRUE(until([&] { return runtime_.newest("web", "web")->attempt == 1; }, minutes(1)));
  EXPECT_THAT(runtime_.calls, Contains("stop_container web 3s"));
  EXPECT_THAT(events_, Contains("Killing: Container web failed liveness probe, will be restarted"));
}

TEST_F(AgentTest, StatusIsRepeatedUntilAcknowledgedAndNeverGoesBack) {
  api_.fail_next(bus::Verb::Update, "pods", {Code::kUnknownOutcome, "lost"});
  api_.fail_next(bus::Verb::Update, "pods", {Code::kUnavailable, "away"});
  put("web", kWeb);
  EXPECT_TRUE(until([&] { return api_.ready("default", "web"); }, minutes(1)));
  EXPECT_EQ(agent_->statuses().counters().refused, 0u);
  uint64_t last = 0;
  for (const auto& c : api_.commands) {
    if (c.verb != bus::Verb::Update) continue;
    EXPECT_GT(c.sequence_number, last);
    last = c.sequence_number;
  }
}

TEST_F(AgentTest, ALostSandboxIsReplaced) {
  put("web", kWeb);
  runtime_.lose_sandbox("web");
  EXPECT_TRUE(until([&] { return api_.ready("default", "web") && runtime_.newest("web", "web")->attempt == 1; }));
  EXPECT_EQ(runtime_.pod("web")->sandboxes.size(), 1u);
  EXPECT_THAT(runtime_.calls, Contains("run_sandbox web/1"));
}

TEST_F(AgentTest, AFailedSandboxIsTriedAgain) {
  runtime_.fail_next("run_sandbox", {Code::kInternal, "cni plugin not initialized"});
  put("web", kWeb);
  EXPECT_FALSE(api_.ready("default", "web"));
  EXPECT_THAT(events_, Contains("FailedCreatePodSandBox: Failed to create pod sandbox: cni plugin not initialized"));
  EXPECT_TRUE(until([&] { return api_.ready("default", "web"); }, minutes(1)));
}

TEST_F(AgentTest, AJobsPodEndsAndStays) {
  put("job", R"({"restartPolicy":"Never","containers":[{"name":"web","image":"demo:1"}]})");
  runtime_.exit("job", "web", 0);
  EXPECT_TRUE(until([&] { return api_.phase("default", "job") == "Succeeded"; }));
  loop_.advance(minutes(5));
  EXPECT_NE(runtime_.newest("job", "web"), nullptr) << "its logs can still be read";
  EXPECT_FALSE(runtime_.pod("job")->sandboxes[0].ready);
  api_.delete_pod("default", "job", 30);
  EXPECT_TRUE(until([&] { return gone("job"); }));
}

TEST_F(AgentTest, DeletionDoesNotWaitForAPull) {
  runtime_.only_images({});
  runtime_.hold("pull_image");
  put("web", kWeb);
  api_.delete_pod("default", "web", 30);
  EXPECT_TRUE(until([&] { return gone("web"); }, seconds(5)));
  runtime_.release("pull_image");
  loop_.advance(seconds(5));
  EXPECT_EQ(std::count(runtime_.calls.begin(), runtime_.calls.end(), "create_container web/0"), 0);
}

TEST_F(AgentTest, APullThatEndsAfterThePodsEndMakesNoContainer) {
  runtime_.only_images({});
  runtime_.hold("pull_image");
  put("web", R"({"restartPolicy":"Never","activeDeadlineSeconds":5,"containers":[{"name":"web","image":"demo:1"}]})");
  EXPECT_TRUE(until([&] { return api_.phase("default", "web") == "Failed"; }, seconds(10)));
  runtime_.release("pull_image");
  loop_.advance(seconds(5));
  EXPECT_EQ(std::count(runtime_.calls.begin(), runtime_.calls.end(), "create_container web/0"), 0);
  EXPECT_THAT(events_, Contains(HasSubstr("DeadlineExceeded: ")));
}

TEST_F(AgentTest, HooksRunAndTheirFailureIsTold) {
  put("web",
      R"({"containers":[{"name":"web","image":"demo:1","lifecycle":{"postStart":{"httpGet":{"port":80,"path":"/up"}},
      "preStop":{"exec":{"command":["false"]}}}}]})");
  EXPECT_TRUE(api_.ready("default", "web"));
  EXPECT_THAT(probes_.asked, Contains("http://192.0.2.1:80/up"));
  runtime_.exec_result = {1, "no"};
  api_.delete_pod("default", "web", 7);
  EXPECT_TRUE(until([&] { return gone("web"); }));
  EXPECT_THAT(runtime_.calls, Contains("exec_sync web false"));
  EXPECT_THAT(events_, Contains("FailedPreStopHook: PreStopHook failed"));
}

TEST_F(AgentTest, AHookOfAKindThatDoesNotExistFailsAsItIsToldTo) {
  put("web", R"({"containers":[{"name":"web","image":"demo:1","lifecycle":{"postStart":{"tcpSocket":{"port":80}}}}]})");
  EXPECT_TRUE(until([&] { return runtime_.newest("web", "web")->attempt >= 1; }, seconds(5)));
  EXPECT_THAT(events_, Contains("FailedPostStartHook: PostStartHook failed"));
}

TEST_F(AgentTest, APostStartHookThatHangsHoldsUpNoDeletion) {
  runtime_.hold("exec_sync");
  put("web",
      R"({"containers":[{"name":"web","image":"demo:1","lifecycle":{"postStart":{"exec":{"command":["sleep"]}}}}]})");
  EXPECT_FALSE(api_.ready("default", "web"));
  api_.delete_pod("default", "web", 30);
  EXPECT_TRUE(until([&] { return gone("web"); }, seconds(5)));
}

TEST_F(AgentTest, AnEphemeralContainerSeesItsTarget) {
  put("web", kWeb);
  auto target = runtime_.newest("web", "web")->id;
  put("web", R"({"containers":[{"name":"web","image":"demo:1"}],
      "ephemeralContainers":[{"name":"debug","image":"busybox:1","targetContainerName":"web"}]})");
  EXPECT_THAT(status("web"), HasSubstr(R"("ephemeralContainerStatuses":[{"name":"debug")"));
  EXPECT_EQ(runtime_.last_configs["debug"].pid_target, target);
}

TEST_F(AgentTest, GrpcProbesAreAsked) {
  put("web",
      R"({"containers":[{"name":"web","image":"demo:1","readinessProbe":{"grpc":{"port":9000,"service":"db"}}}]})");
  loop_.advance(std::chrono::milliseconds(1));
  EXPECT_THAT(probes_.asked, Contains("192.0.2.1:9000/db"));
  EXPECT_TRUE(until([&] { return api_.ready("default", "web"); }, seconds(1)));
}

TEST_F(AgentTest, ReadinessIsWatchedToTheEnd) {
  runtime_.ignore_terminate(true);
  put("web", R"({"terminationGracePeriodSeconds":30,"containers":[{"name":"web","image":"demo:1",
      "readinessProbe":{"tcpSocket":{"port":80},"periodSeconds":1,"failureThreshold":1},
      "livenessProbe":{"tcpSocket":{"port":81},"periodSeconds":1,"failureThreshold":1}}]})");
  loop_.advance(seconds(1));
  EXPECT_TRUE(api_.ready("default", "web"));
  api_.delete_pod("default", "web", 30);
  loop_.drain();
  probes_.asked.clear();
  probes_.healthy = false;
  EXPECT_TRUE(until([&] { return !api_.ready("default", "web"); }, seconds(3)));
  EXPECT_EQ(std::count(probes_.asked.begin(), probes_.asked.end(), "192.0.2.1:81"), 0);
  EXPECT_TRUE(until([&] { return gone("web"); }));
}

TEST_F(AgentTest, ATraceHasEveryStepUntilThePodIsReady) {
  probes_.healthy = false;
  put("web",
      R"({"containers":[{"name":"web","image":"demo:1","readinessProbe":{"tcpSocket":{"port":80},"periodSeconds":1}}]})");
  loop_.advance(seconds(3));
  probes_.healthy = true;
  EXPECT_TRUE(until([&] { return api_.ready("default", "web"); }, seconds(5)));
  auto bytes = agent_->find("default", "web")->trace();
  flatbuffers::Verifier verifier(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size());
  ASSERT_TRUE(verifier.VerifyBuffer<node::PodTrace>(nullptr));
  const auto& trace = *flatbuffers::GetRoot<node::PodTrace>(bytes.data());
  EXPECT_EQ(trace.name()->str(), "web");
  std::vector<std::string> phases;
  for (const auto* phase : *trace.phases()) phases.push_back(phase->name()->str());
  EXPECT_THAT(phases,
              ::testing::UnorderedElementsAre("prepare", "sandbox", "image", "create", "start", "probes", "report"));
  EXPECT_GE(trace.phases()->Get(5)->end() - trace.phases()->Get(5)->start(), 0);
}

TEST_F(AgentTest, ATerminatedPodTellsWhyAndKeepsIt) {
  put("web", kWeb);
  agent_->terminate("web", {"Evicted", "low on memory", std::nullopt, true});
  EXPECT_TRUE(until([&] { return api_.phase("default", "web") == "Failed"; }));
  EXPECT_THAT(status("web"), HasSubstr(R"("reason":"Evicted")"));
  start();
  loop_.advance(minutes(2));
  EXPECT_THAT(status("web"), HasSubstr(R"("type":"DisruptionTarget")"));
  EXPECT_EQ(runtime_.newest("web", "web")->attempt, 0u) << "not started again by the next agent";
}

}  // namespace
}  // namespace gantry::nodeagent
