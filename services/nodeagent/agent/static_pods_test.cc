// Static pods and their mirrors, and the graceful end of the node.
#include "services/nodeagent/agent/static_pods.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "services/nodeagent/agent/shutdown.h"
#include "services/nodeagent/agent/testing/agent_story.h"

namespace gantry::nodeagent {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr char kManifest[] = R"(apiVersion: v1
kind: Pod
metadata:
  name: etcd
  namespace: kube-system
spec:
  terminationGracePeriodSeconds: 5
  containers:
    - name: main
      image: "demo:1"
)";

model::Object manifest(const std::string& text = kManifest) {
  auto pod = parse_static_pod(text, "etcd.yaml", "n1");
  EXPECT_TRUE(pod.ok()) << pod.error().message;
  return *pod;
}
std::string changed() { return std::string(kManifest) + "    - name: more\n      image: \"demo:2\"\n"; }

class StaticPodsTest : public AgentStory {
 protected:
  const model::Object* mirror() { return api_.pod("kube-system", "etcd-n1"); }
  bool mirror_ready() { return api_.ready("kube-system", "etcd-n1"); }
};

TEST_F(StaticPodsTest, AManifestIsAPodOfThisNode) {
  auto pod = manifest();
  EXPECT_EQ(pod.name(), "etcd-n1");
  EXPECT_EQ(pod.ns(), "kube-system");
  EXPECT_EQ(annotation(pod, kConfigSource), "file");
  EXPECT_EQ(annotation(pod, kConfigHash), pod.uid());
  EXPECT_NE(pod.uid(), manifest(changed()).uid());
  for (const char* bad : {"{}", "kind: Service\nmetadata: {name: x}\nspec: {}", "kind: Pod\nspec: {}", "[", "",
                          "kind: Pod\nmetadata: {name: x}\nspec: {containers: 5}"}) {
    EXPECT_FALSE(parse_static_pod(bad, "x", "n1").ok()) << bad;
  }
}

TEST_F(StaticPodsTest, RunsAndShowsItselfInTheApi) {
  agent_->set_static_pods({manifest()});
  EXPECT_TRUE(until([&] { return mirror_ready(); }, seconds(10)));
  EXPECT_EQ(annotation(*mirror(), kConfigMirror), manifest().uid());
  EXPECT_EQ(mirror()->meta()->owner_references(), nullptr);
  EXPECT_NE(runtime_.newest(std::string(manifest().uid()), "main"), nullptr);
  EXPECT_EQ(agent_->size(), 1u) << "the mirror runs nothing";
  EXPECT_EQ(agent_->find("kube-system", "etcd-n1")->api_uid(), mirror()->uid());
}

TEST_F(StaticPodsTest, ADeletedMirrorComesAgainAndThePodRunsOn) {
  agent_->set_static_pods({manifest()});
  EXPECT_TRUE(until([&] { return mirror_ready(); }, seconds(10)));
  auto id = runtime_.newest(std::string(manifest().uid()), "main")->id;
  auto first = std::string(mirror()->uid());
  api_.delete_pod("kube-system", "etcd-n1", 30);
  EXPECT_TRUE(until([&] { return mirror() != nullptr && mirror()->uid() != first && mirror_ready(); }, seconds(20)));
  EXPECT_EQ(runtime_.newest(std::string(manifest().uid()), "main")->id, id);
  EXPECT_EQ(runtime_.newest(std::string(manifest().uid()), "main")->state, ContainerState::kRunning);
}

TEST_F(StaticPodsTest, AChangedManifestReplacesThePodOnceTheOldOneHasEnded) {
  agent_->set_static_pods({manifest()});
  EXPECT_TRUE(until([&] { return mirror_ready(); }, seconds(10)));
  runtime_.ignore_terminate(true);
  auto next = manifest(changed());
  agent_->set_static_pods({next});
  loop_.drain();
  EXPECT_EQ(runtime_.pod(std::string(next.uid())), nullptr) << "not two at once";
  EXPECT_TRUE(
      until([&] { return mirror() != nullptr && annotation(*mirror(), kConfigMirror) == next.uid() && mirror_ready(); },
            seconds(40)));
  EXPECT_EQ(runtime_.pod(std::string(manifest().uid())), nullptr);
  EXPECT_NE(runtime_.newest(std::string(next.uid()), "more"), nullptr);
}

TEST_F(StaticPodsTest, TheNodeOwnsTheMirror) {
  agent_->set_node_uid("");
  agent_->set_static_pods({manifest()});
  loop_.advance(minutes(1));
  EXPECT_EQ(mirror(), nullptr) << "the node is not registered yet";
  agent_->set_node_uid("node-uid");
  EXPECT_TRUE(until([&] { return mirror_ready(); }, seconds(10)));
  const auto* owners = mirror()->meta()->owner_references();
  ASSERT_TRUE(owners != nullptr && owners->size() == 1);
  EXPECT_EQ(owners->Get(0)->kind()->str(), "Node");
  EXPECT_EQ(owners->Get(0)->name()->str(), "n1");
  EXPECT_EQ(owners->Get(0)->uid()->str(), "node-uid");
}

TEST_F(StaticPodsTest, WithoutItsManifestNothingOfItStays) {
  agent_->set_static_pods({manifest()});
  EXPECT_TRUE(until([&] { return mirror_ready(); }, seconds(10)));
  agent_->set_static_pods({});
  EXPECT_TRUE(until([&] { return mirror() == nullptr && agent_->size() == 0 && runtime_.pods() == 0; }, seconds(40)));
}

TEST_F(StaticPodsTest, ARestartedAgentAdoptsAndCleansMirrorsOfManifestsThatWent) {
  agent_->set_static_pods({manifest()});
  EXPECT_TRUE(until([&] { return mirror_ready(); }, seconds(10)));
  runtime_.calls.clear();
  static_pods_.emplace({manifest()});
  start();
  loop_.advance(minutes(1));
  EXPECT_THAT(runtime_.calls, IsEmpty()) << "nothing was started or stopped";
  EXPECT_TRUE(mirror_ready());
  static_pods_.emplace();
  start();
  EXPECT_TRUE(until([&] { return mirror() == nullptr && runtime_.pods() == 0; }, seconds(40)));
}

TEST_F(StaticPodsTest, RunsWithoutTheApi) {
  for (int i = 0; i < 5; ++i) api_.fail_next(bus::Verb::Create, "pods", {Code::kUnavailable, "away"});
  agent_->set_static_pods({manifest()});
  loop_.drain();
  EXPECT_EQ(runtime_.newest(std::string(manifest().uid()), "main")->state, ContainerState::kRunning);
  EXPECT_EQ(mirror(), nullptr);
  EXPECT_TRUE(until([&] { return mirror() != nullptr && mirror_ready(); }, minutes(1)));
}

TEST_F(StaticPodsTest, ADirectoryIsReadAndReadAgain) {
  char name[] = "/tmp/gantry-static-XXXXXX";
  ASSERT_NE(mkdtemp(name), nullptr);
  std::string directory = name;
  std::vector<std::vector<std::string>> told;
  StaticPods pods(loop_, executor_, directory, "n1", [&](const std::vector<model::Object>& now) {
    told.emplace_back();
    for (const auto& pod : now) told.back().emplace_back(pod.name());
  });
  std::ofstream(directory + "/.hidden") << kManifest;
  std::ofstream(directory + "/broken.yaml") << "kind: [";
  pods.start();
  loop_.drain();
  EXPECT_THAT(told, ElementsAre(IsEmpty())) << "told once even when there is none";
  std::ofstream(directory + "/etcd.yaml") << kManifest;
  pods.look();
  loop_.drain();
  EXPECT_THAT(told.back(), ElementsAre("etcd-n1"));
  std::ofstream(directory + "/etcd.yaml") << "kind: [";
  loop_.advance(seconds(21));
  EXPECT_EQ(told.size(), 2u) << "what cannot be read keeps the pod";
  std::filesystem::remove(directory + "/etcd.yaml");
  loop_.advance(seconds(21));
  EXPECT_THAT(told.back(), IsEmpty());
  std::filesystem::remove_all(directory);
}

class ShutdownTest : public AgentStory {};

TEST_F(ShutdownTest, StepsComeFromTheFlags) {
  EXPECT_THAT(*shutdown_steps(0, 0, ""), IsEmpty());
  EXPECT_THAT(*shutdown_steps(30, 10, ""), ElementsAre(ShutdownStep{0, 20}, ShutdownStep{2'000'000'000, 10}));
  EXPECT_THAT(*shutdown_steps(0, 0, "1000=5,0=60"), ElementsAre(ShutdownStep{0, 60}, ShutdownStep{1000, 5}));
  EXPECT_FALSE(shutdown_steps(5, 10, "").ok());
  EXPECT_FALSE(shutdown_steps(5, 0, "0=1").ok());
  EXPECT_FALSE(shutdown_steps(0, 0, "0=x").ok());
}

TEST_F(ShutdownTest, PodsEndInTheOrderOfTheirPriority) {
  put("low", R"({"terminationGracePeriodSeconds":60,"containers":[{"name":"low","image":"i"}]})");
  put("high",
      R"({"priority":2000000000,"terminationGracePeriodSeconds":60,"containers":[{"name":"high","image":"i"}]})");
  runtime_.ignore_terminate(true);
  NodeShutdown shutdown(loop_, *agent_, *shutdown_steps(30, 10, ""));
  bool done = false;
  shutdown.begin([&] { done = true; });
  loop_.advance(seconds(1));
  EXPECT_THAT(runtime_.calls, Contains("stop_container low 20s"));
  EXPECT_THAT(runtime_.calls, ::testing::Not(Contains(HasSubstr("stop_container high"))));
  put("late", R"({"containers":[{"name":"late","image":"i"}]})");
  EXPECT_EQ(api_.phase("default", "late"), "Failed");
  EXPECT_THAT(status("late"), HasSubstr("Pod was rejected as the node is shutting down."));
  EXPECT_TRUE(until([&] { return api_.phase("default", "low") == "Failed"; }, seconds(25)));
  EXPECT_THAT(status("low"), HasSubstr(R"("reason":"Terminated")"));
  EXPECT_THAT(status("low"), HasSubstr("Pod was terminated in response to imminent node shutdown."));
  EXPECT_TRUE(until([&] { return done; }, seconds(15)));
  EXPECT_THAT(runtime_.calls, Contains("stop_container high 10s"));
  EXPECT_THAT(runtime_.calls, ::testing::Not(Contains(HasSubstr("create_container late"))));
}

TEST_F(ShutdownTest, WhatEndsSoonerIsNotWaitedFor) {
  put("low", R"({"containers":[{"name":"low","image":"i"}]})");
  NodeShutdown shutdown(loop_, *agent_, *shutdown_steps(3000, 1000, ""));
  bool done = false;
  shutdown.begin([&] { done = true; });
  EXPECT_TRUE(until([&] { return done; }, seconds(2)));
}

}  // namespace
}  // namespace gantry::nodeagent
