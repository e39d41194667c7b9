// The agent's whole loop on a manual clock, with a fake runtime and a fake gateway: what its tests share.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "schemas/trace_generated.h"
#include "services/nodeagent/agent/agent.h"
#include "services/nodeagent/agent/testing/fake_api.h"
#include "services/nodeagent/runtime/testing/fake_runtime.h"

namespace gantry::nodeagent {

class AgentStory : public ::testing::Test {
 protected:
  void SetUp() override { start(); }

  void start() {
    agent_.reset();
    sequence_ = std::make_unique<Sequence>(++epoch_);
    AgentOptions options;
    options.node.node = "n1";
    options.node.host_ips = {"10.0.0.1"};
    options.node.paths.root = "/nowhere";
    options.node.service_host = "10.96.0.1";
    options.node.service_port = "443";
    options.node.cluster_dns = "10.96.0.10";
    options.disk = false;
    options.dependencies = false;
    agent_ = std::make_unique<Agent>(loop_, api_, runtime_, executor_, probes_, api_.pods, *sequence_, options);
    agent_->on_record([this](const model::Object& pod, bool, const std::string& reason, const std::string& message) {
      events_.push_back(reason + ": " + message);
    });
    if (static_pods_) agent_->expect_static_pods();
    agent_->start(nullptr);
    if (static_pods_) agent_->set_static_pods(*static_pods_);
    loop_.drain();
  }
  void put(const std::string& name, const std::string& spec, const std::string& uid = "") {
    api_.put("pods", fmt::format(R"({{"metadata":{{"name":"{0}","namespace":"default","uid":"{1}"}},"spec":{2}}})",
                                 name, uid.empty() ? name : uid, spec));
    loop_.drain();
  }
  std::string status(const std::string& name) { return api_.status_json("default", name); }
  bool until(const std::function<bool()>& condition, Duration limit = std::chrono::minutes(10)) {
    return loop_.run_until(condition, limit);
  }
  bool gone(const std::string& name) {
    return api_.pod("default", name) == nullptr && runtime_.pod(name) == nullptr && agent_->size() == 0;
  }

  testing::ManualLoop loop_;
  testing::FakeRuntime runtime_{loop_};
  testing::FakeApi api_{loop_};
  testing::FakeProbes probes_{loop_};
  InlineExecutor executor_{loop_};
  uint64_t epoch_ = 0;
  std::optional<std::vector<model::Object>> static_pods_;  // for the next start()
  std::unique_ptr<Sequence> sequence_;
  std::unique_ptr<Agent> agent_;
  std::vector<std::string> events_;
};

}  // namespace gantry::nodeagent
