// The agent on a real containerd, with a gateway in memory: what a pod's user sees, and what is left behind.
#include "services/nodeagent/cri/testing/agent_story.h"
#include "services/nodeagent/resource/cgroups.h"

namespace gantry::nodeagent {
namespace {

using std::chrono::seconds;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(NodeAgentTest, APodWithAllThatSurroundsIt) {
  api_.put("configmaps",
           R"({"metadata":{"name":"cfg","namespace":"default"},"data":{"color":"blue","file.txt":"content\n"}})");
  api_.put("secrets", R"({"metadata":{"name":"sec","namespace":"default"},"data":{"key":"c2VjcmV0"}})");
  put("web", R"J({"terminationGracePeriodSeconds":1,"hostname":"web-host",
    "volumes":[{"name":"cfg","configMap":{"name":"cfg"}},{"name":"tmp","emptyDir":{}},{"name":"mem","emptyDir":{"medium":"Memory"}},
      {"name":"all","projected":{"sources":[{"secret":{"name":"sec"}},
        {"downwardAPI":{"items":[{"path":"labels","fieldRef":{"fieldPath":"metadata.labels"}}]}}]}}],
    "initContainers":[{"name":"init","image":"gantry.local/busybox:1","command":["sh","-c","echo from-init > /tmp/init"],
      "volumeMounts":[{"name":"tmp","mountPath":"/tmp"}]}],
    "containers":[{"name":"main","image":"gantry.local/busybox:1","command":["sh","-c","echo started $(COLOR); sleep 1000"],
      "env":[{"name":"COLOR","valueFrom":{"configMapKeyRef":{"name":"cfg","key":"color"}}},
        {"name":"KEY","valueFrom":{"secretKeyRef":{"name":"sec","key":"key"}}},
        {"name":"IP","valueFrom":{"fieldRef":{"fieldPath":"status.podIP"}}},{"name":"TWICE","value":"$(COLOR)-$(COLOR)"}],
      "resources":{"limits":{"memory":"64Mi","cpu":"500m"}},
      "volumeMounts":[{"name":"tmp","mountPath":"/tmp"},{"name":"cfg","mountPath":"/cfg"},{"name":"mem","mountPath":"/mem"},
        {"name":"all","mountPath":"/all"}]}]})J");
  ASSERT_TRUE(ready("web")) << status("web");
  EXPECT_TRUE(until([&] { return logs("web") == "started blue\n"; }));
  EXPECT_EQ(exec("web", "cat /tmp/init /cfg/file.txt /all/key /all/labels; echo; echo $KEY $TWICE; hostname"),
            "from-init\ncontent\nsecretapp=\"web\"\nsecret blue-blue\nweb-host\n");
  auto resolv = exec("web", "cat /etc/resolv.conf");
  EXPECT_THAT(resolv, HasSubstr("nameserver 10.96.0.10\n"));
  EXPECT_THAT(resolv, HasSubstr("search default.svc.cluster.local svc.cluster.local cluster.local"));
  EXPECT_THAT(exec("web", "cat /etc/hosts"), HasSubstr("\tweb-host\n"));
  EXPECT_THAT(exec("web", "echo $IP; hostname -i"), HasSubstr(containerd_->subnet()));
  EXPECT_THAT(exec("web", "mount | grep ' /mem '"), HasSubstr("tmpfs"));
  EXPECT_EQ(exec("web", "echo $KUBERNETES_SERVICE_HOST:$KUBERNETES_SERVICE_PORT"), "10.96.0.1:443\n");
  EXPECT_THAT(status("web"), HasSubstr(R"("qosClass":"Burstable")"));
  EXPECT_THAT(status("web"), HasSubstr(R"("phase":"Running")"));
}

TEST_F(NodeAgentTest, ExecCarriesStdinAndTheExitCode) {
  put("web", script("sleep 1000"));
  ASSERT_TRUE(ready("web")) << status("web");
  bus::SessionRequest request;
  request.kind = node::SessionKind::Exec;
  request.command = {"sh", "-c", "cat; exit 5"};
  request.in = true;
  auto s = open(request, "web");
  ASSERT_TRUE(s->session) << s->refused.message;
  std::string sent;
  for (int i = 0; sent.size() < 2'000'000; ++i) {
    auto line = fmt::format("{}\n", i);
    sent += line;
    s->session->write(node::Channel::Stdin, line);
  }
  s->session->end(node::Channel::Stdin);
  ASSERT_TRUE(until([&] { return s->end.has_value(); })) << s->out.size();
  EXPECT_EQ(s->end->exit_code, 5);
  EXPECT_TRUE(s->out == sent) << s->out.size() << " of " << sent.size();
  EXPECT_THAT(exec("nothing", "true"), HasSubstr("pods \"nothing\" not found"));
}

TEST_F(NodeAgentTest, LogsFollowTailAndOfThePreviousRun) {
  put("web", script("i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); done; sleep 1; echo last >&2; exit 1"));
  bus::SessionRequest follow;
  follow.kind = node::SessionKind::Logs;
  follow.follow = true;
  ASSERT_TRUE(
      until([&] { return container("web") != nullptr && container("web")->state == ContainerState::kRunning; }));
  auto s = open(follow, "web");
  ASSERT_TRUE(until([&] { return s->end.has_value(); }));
  EXPECT_EQ(std::count(s->out.begin(), s->out.end(), '\n'), 201);
  EXPECT_EQ(s->out.substr(s->out.size() - 14), "line 199\nlast\n");
  ASSERT_TRUE(
      until([&] { return container("web")->attempt >= 1 && container("web")->state == ContainerState::kRunning; }));
  bus::SessionRequest previous;
  previous.previous = true;
  previous.tail_lines = 2;
  EXPECT_EQ(logs("web", previous), "line 199\nlast\n");
}

TEST_F(NodeAgentTest, AKilledProcessIsRestartedAndARestartedAgentDisturbsNothing) {
  put("web", script("sleep 1000"));
  ASSERT_TRUE(ready("web"));
  auto first = container("web")->id;
  auto pid = std::atoi(containerd_->ctr("-n k8s.io tasks ls | grep " + first + " | awk '{print $2}'").c_str());
  ASSERT_GT(pid, 0);
  stop_agent();
  start_agent();
  ASSERT_TRUE(until([&] { return container("web") != nullptr; }));
  EXPECT_EQ(container("web")->id, first) << "adopted";
  EXPECT_EQ(kill(pid, 0), 0);
  kill(pid, SIGKILL);
  ASSERT_TRUE(until([&] { return api_.ready("default", "web") && container("web")->attempt == 1; }));
  EXPECT_THAT(status("web"), HasSubstr(R"("restartCount":1)"));
  EXPECT_THAT(status("web"), HasSubstr(R"("exitCode":137)"));
}

TEST_F(NodeAgentTest, TheDeathOfContainerdDisturbsNothing) {
  put("web", script("sleep 1000"));
  ASSERT_TRUE(ready("web"));
  auto first = container("web")->id;
  containerd_->kill9();
  ASSERT_TRUE(containerd_->restart().ok());
  put("second", script("sleep 1000"));
  ASSERT_TRUE(ready("second")) << status("second");
  EXPECT_EQ(container("web")->id, first);
  EXPECT_EQ(container("web")->state, ContainerState::kRunning);
}

TEST_F(NodeAgentTest, TheDeathOfAShimIsHealed) {
  put("web", script("sleep 1000"));
  ASSERT_TRUE(ready("web"));
  auto sandbox = agent_->find("default", "web")->observed().sandboxes[0].id;
  FILE* pipe = popen(("pgrep -f 'containerd-shim-runc-v2 -namespace k8s.io -id " + sandbox + "'").c_str(), "r");
  int shim = 0;
  ASSERT_EQ(fscanf(pipe, "%d", &shim), 1);
  pclose(pipe);
  kill(shim, SIGKILL);
  ASSERT_TRUE(until([&] {
    const auto* w = agent_->find("default", "web");
    return api_.ready("default", "web") && !w->observed().sandboxes.empty() && w->observed().sandboxes[0].id != sandbox;
  })) << status("web");
}

TEST_F(NodeAgentTest, DeletionGivesGraceThenLeavesNothing) {
  put("web", script("trap 'echo bye; exit 0' TERM; while true; do sleep 0.1; done",
                    R"("lifecycle":{"preStop":{"exec":{"command":["sh","-c","echo hook > /proc/1/fd/1"]}}})"));
  ASSERT_TRUE(ready("web"));
  auto uid = agent_->find("default", "web")->uid();
  EXPECT_THAT(pods_with_cgroups(containerd_->cgroup()), Contains(uid));
  bus::SessionRequest follow;
  follow.kind = node::SessionKind::Logs;
  follow.follow = true;
  auto s = open(follow, "web");
  api_.delete_pod("default", "web", 10);
  auto began = loop_.now();
  ASSERT_TRUE(until([&] { return api_.pod("default", "web") == nullptr && agent_->size() == 0; }));
  EXPECT_LT(loop_.now() - began, seconds(9)) << "did not wait for the whole grace";
  EXPECT_TRUE(until([&] { return s->end.has_value(); }));
  EXPECT_THAT(s->out, HasSubstr("bye\n"));
  EXPECT_FALSE(std::filesystem::exists(root_ + "/pods/" + uid));
  EXPECT_THAT(pods_with_cgroups(containerd_->cgroup()), Not(Contains(uid)));
}

TEST_F(NodeAgentTest, ProbesReachThePod) {
  put("web", R"({"terminationGracePeriodSeconds":0,"containers":[{"name":"main","image":"gantry.local/busybox:1",
      "command":["sh","-c","mkdir /www; echo ok > /www/healthy; sleep 1; exec httpd -f -p 8080 -h /www"],
      "readinessProbe":{"httpGet":{"path":"/healthy","port":8080},"periodSeconds":1},
      "livenessProbe":{"exec":{"command":["test","-f","/www/healthy"]},"periodSeconds":1,"failureThreshold":1},
      "startupProbe":{"tcpSocket":{"port":8080},"periodSeconds":1,"failureThreshold":30}}]})");
  ASSERT_TRUE(ready("web")) << status("web");
  exec("web", "rm /www/healthy");
  ASSERT_TRUE(until([&] { return container("web")->attempt == 1 && api_.ready("default", "web"); })) << status("web");
}

TEST_F(NodeAgentTest, AnImageIsAVolume) {
  const std::string spec = R"({"terminationGracePeriodSeconds":0,
      "volumes":[{"name":"files","image":{"reference":"gantry.local/busybox:1","pullPolicy":"Never"}}],
      "containers":[{"name":"main","image":"gantry.local/busybox:1","command":["sleep","1000"],
        "volumeMounts":[{"name":"files","mountPath":"/files"},{"name":"files","mountPath":"/part","subPath":"etc"}]}]})";
  put("web", spec);
  ASSERT_TRUE(ready("web")) << status("web");
  EXPECT_EQ(exec("web", "touch /files/x 2>/dev/null || cmp /files/etc/passwd /part/passwd && echo same"), "same\n");
  stop_agent();
  start_agent();
  // Without its own image there is nothing to ask: it is mounted already.
  const auto pid =
      std::atoi(containerd_->ctr("-n k8s.io tasks ls | grep " + container("web")->id + " | awk '{print $2}'").c_str());
  kill(pid, SIGKILL);
  ASSERT_TRUE(until([&] { return api_.ready("default", "web") && container("web")->attempt == 1; }));
  EXPECT_EQ(exec("web", "ls -d /files/etc"), "/files/etc\n");
  auto missing = spec;
  missing.replace(missing.find("gantry.local/busybox:1"), 22, "gantry.local/nothing:1");
  put("none", missing);
  EXPECT_TRUE(until([&] { return status("none").find("ErrImageNeverPull") != std::string::npos; })) << status("none");
}

TEST_F(NodeAgentTest, WhatCannotRunSaysWhy) {
  put("image", R"({"containers":[{"name":"main","image":"gantry.local/nothing:1","imagePullPolicy":"Never"}]})");
  put("command", R"({"containers":[{"name":"main","image":"gantry.local/busybox:1","command":["/no/such"]}]})");
  EXPECT_TRUE(until([&] { return status("image").find("ErrImageNeverPull") != std::string::npos; })) << status("image");
  EXPECT_TRUE(until([&] { return status("command").find("no such file") != std::string::npos; })) << status("command");
  EXPECT_THAT(logs("image"), HasSubstr("is waiting to start"));
}

}  // namespace
}  // namespace gantry::nodeagent
