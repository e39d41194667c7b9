// The agent on a real containerd, with a gateway in memory: what the tests of both share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <fstream>

#include "libs/base/ids.h"
#include "libs/bus/testing/fake_bus.h"
#include "services/nodeagent/agent/probe_transport.h"
#include "services/nodeagent/agent/testing/fake_api.h"
#include "services/nodeagent/cri/cri_runtime.h"
#include "services/nodeagent/cri/testing/containerd.h"
#include "services/nodeagent/session/sessions.h"

namespace gantry::nodeagent {

/// A containerd for the suite, an agent for each test, which must leave nothing behind.
class NodeAgentTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    auto started = testing::Containerd::start();
    ASSERT_TRUE(started.ok()) << started.error().message;
    containerd_ = started->release();
  }
  static void TearDownTestSuite() {
    delete containerd_;
    containerd_ = nullptr;
  }
  void SetUp() override {
    ASSERT_NE(containerd_, nullptr);
    root_ = containerd_->directory() + "/agent";
    start_agent();
  }
  void TearDown() override {
    if (containerd_ == nullptr) return;
    // Whatever a test leaves, the next agent sweeps: nobody wants it.
    std::vector<std::string> names;
    api_.pods.for_each([&](const model::Object& pod) { names.emplace_back(pod.name()); });
    for (const auto& name : names) api_.remove_pod("default", name);
    EXPECT_TRUE(until([&] { return agent_->size() == 0; }, std::chrono::seconds(60)));
    stop_agent();
    EXPECT_EQ(containerd_->leftovers(), "");
    EXPECT_TRUE(!std::filesystem::exists(root_ + "/pods") || std::filesystem::is_empty(root_ + "/pods"));
  }

  void start_agent() {
    auto epoch = next_epoch(root_ + "/epoch", 1);
    ASSERT_TRUE(epoch.ok()) << epoch.error().message;
    sequence_ = std::make_unique<Sequence>(*epoch);
    AgentOptions options;
    options.node.node = "n1";
    options.node.host_ips = {"10.0.0.1"};
    options.node.paths.root = root_;
    options.node.cluster_dns = "10.96.0.10";
    options.node.service_host = "10.96.0.1";
    options.node.service_port = "443";
    options.node.cgroup_parent = containerd_->cgroup();
    options.node.pod_cgroups = true;
    options.node.pod_pids = pod_pids_;
    options.dependencies = false;
    runtime_ =
        make_cri_runtime(loop_, {containerd_->socket(), options.node.paths.exec(), containerd_->directory() + "/ipam"});
    agent_ = std::make_unique<Agent>(loop_, api_, *runtime_, executor_, *probes_, api_.pods, *sequence_, options);
    agent_->start(nullptr);
    sessions_ = std::make_unique<Sessions>(loop_, *bus_, *runtime_, executor_, *agent_, "n1");
    ASSERT_TRUE(until([&] { return agent_->synced(); }));
  }
  void stop_agent() {
    sessions_.reset();
    agent_.reset();
    runtime_.reset();
    loop_.run_once(false);
  }

  bool until(const std::function<bool()>& condition, Duration limit = std::chrono::seconds(40)) {
    auto end = loop_.now() + limit;
    auto tick = loop_.every(std::chrono::milliseconds(20), [] {});
    while (!condition()) {
      if (loop_.now() > end) return false;
      loop_.run_once();
    }
    return true;
  }
  void put(const std::string& name, const std::string& spec) {
    api_.put(
        "pods",
        fmt::format(
            R"({{"metadata":{{"name":"{0}","namespace":"default","uid":"{1}","labels":{{"app":"{0}"}}}},"spec":{2}}})",
            name, new_uid(), spec));
  }
  static std::string script(const std::string& text, const std::string& more = "") {
    return fmt::format(
        R"({{"terminationGracePeriodSeconds":2,"containers":[{{"name":"main","image":"gantry.local/busybox:1","command":["sh","-c",{}]{}}}]{}}})",
        nlohmann_quote(text), more.empty() ? "" : "," + more, "");
  }
  static std::string nlohmann_quote(const std::string& text) {
    std::string out = "\"";
    for (char c : text) {
      if (c == '"' || c == '\\') out += '\\';
      out += c == '\n' ? std::string("\\n") : std::string(1, c);
    }
    return out + "\"";
  }
  std::string status(const std::string& name) { return api_.status_json("default", name); }
  bool ready(const std::string& name) {
    return until([&] { return api_.ready("default", name); });
  }
  const Container* container(const std::string& pod) {
    const auto* w = agent_->find("default", pod);
    return w == nullptr || w->observed().containers.empty() ? nullptr : &w->observed().containers[0];
  }

  struct Stream {
    std::unique_ptr<bus::Session> session;
    std::string out, err;
    std::optional<bus::SessionEnd> end;
    Error refused;
  };
  std::unique_ptr<Stream> open(bus::SessionRequest request, const std::string& pod) {
    request.ns = "default";
    request.pod = pod;
    auto s = std::make_unique<Stream>();
    bus::Session::Callbacks callbacks;
    callbacks.data = [p = s.get()](node::Channel channel, std::string_view data, bool) {
      (channel == node::Channel::Stderr ? p->err : p->out) += data;
      if (p->session) p->session->consume(data.size());
    };
    callbacks.closed = [p = s.get()](const bus::SessionEnd& end) { p->end = end; };
    callbacks.writable = [] {};
    bool answered = false;
    bus::open_session(loop_, *gateway_, "n1", request, std::move(callbacks),
                      [&, p = s.get()](Result<std::unique_ptr<bus::Session>> r) {
                        answered = true;
                        if (!r.ok()) {
                          p->refused = r.error();
                          return;
                        }
                        p->session = std::move(*r);
                        if (!p->out.empty() || !p->err.empty()) p->session->consume(p->out.size() + p->err.size());
                      });
    EXPECT_TRUE(until([&] { return answered; }));
    return s;
  }
  std::string logs(const std::string& pod, bus::SessionRequest request = {}) {
    request.kind = node::SessionKind::Logs;
    auto s = open(request, pod);
    EXPECT_TRUE(until([&] { return !s->session || s->end.has_value(); }));
    return s->session ? s->out : "refused: " + s->refused.message;
  }
  std::string exec(const std::string& pod, const std::string& command) {
    bus::SessionRequest request;
    request.kind = node::SessionKind::Exec;
    request.command = {"sh", "-c", command};
    auto s = open(request, pod);
    EXPECT_TRUE(until([&] { return !s->session || s->end.has_value(); }));
    return s->session ? s->out + s->err : "refused: " + s->refused.message;
  }

  inline static testing::Containerd* containerd_ = nullptr;
  UvLoop loop_;
  testing::FakeNetwork network_{loop_};
  std::unique_ptr<testing::FakeBus> bus_ = network_.connect("node-n1", bus::node_permissions("n1")),
                                    gateway_ = network_.connect("apigw", bus::apigw_permissions());
  testing::FakeApi api_{loop_};
  UvExecutor executor_{loop_};
  std::unique_ptr<ProbeTransport> probes_ = make_probe_transport(loop_);
  std::string root_;
  int64_t pod_pids_ = 0;
  std::unique_ptr<Sequence> sequence_;
  std::unique_ptr<Runtime> runtime_;
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<Sessions> sessions_;
};

}  // namespace gantry::nodeagent
