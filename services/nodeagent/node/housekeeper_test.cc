// What a node refuses, resizes and lets go: the agent's whole loop on a manual clock, with its registrar's word on what
// there is.
#include "services/nodeagent/node/housekeeper.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/testing/fake_bus.h"
#include "services/nodeagent/agent/testing/fake_api.h"
#include "services/nodeagent/node/admission.h"
#include "services/nodeagent/runtime/testing/fake_runtime.h"

namespace gantry::nodeagent {
namespace {

using std::chrono::minutes;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

class HousekeeperTest : public ::testing::Test {
 protected:
  HousekeeperTest() {
    RegistrarOptions registrar;
    registrar.node = "n1";
    registrar.capacity = {{"cpu", "2"}, {"memory", "4Gi"}, {"pods", "3"}};
    registrar.allocatable = {{"cpu", "1900m"}};
    registrar_ = std::make_unique<Registrar>(loop_, *bus_, api_, nodes_, runtime_, sequence_, registrar);
    AgentOptions options;
    options.node.node = "n1";
    options.node.host_ips = {"10.0.0.1"};
    options.node.paths.root = "/nowhere";
    options.disk = options.dependencies = false;
    agent_ = std::make_unique<Agent>(loop_, api_, runtime_, executor_, probes_, api_.pods, sequence_, options);
    agent_->on_record([this](const model::Object& pod, bool, const std::string& reason, const std::string& message) {
      events_.push_back(reason + ": " + message);
    });
    admit_pods(*agent_, *registrar_, api_.pods, [this] { return housekeeper_ && housekeeper_->memory_pressure(); });
    agent_->start(nullptr);
    HousekeeperOptions keeping;
    keeping.eviction.thresholds = *parse_thresholds("memory.available<100Mi,nodefs.available<10%");
    Housekeeper::Callbacks callbacks;
    callbacks.signals = [this] { return signals_; };
    callbacks.pressure = [this](bool memory, bool disk, bool) { pressure_ = {memory, disk}; };
    callbacks.images = [this](const std::vector<Image>& images) { images_ = images.size(); };
    callbacks.record = [this](const model::Object&, const std::string& reason, const std::string& message) {
      events_.push_back(reason + ": " + message);
    };
    signals_ = {{"memory.available", {1LL << 30, 4LL << 30}}, {"nodefs.available", {50, 100}}};
    housekeeper_ = std::make_unique<Housekeeper>(loop_, executor_, runtime_, *agent_, keeping, callbacks);
    loop_.drain();
  }
  void put(const std::string& name, const std::string& resources = "{}", const std::string& more = "") {
    api_.put("pods", fmt::format(R"({{"metadata":{{"name":"{0}","namespace":"default","uid":"{0}"}},"spec":{{{2}
        "containers":[{{"name":"c","image":"demo:1","resources":{1}}}]}},"status":{3}}})",
                                 name, resources, more, api_.status_json("default", name)));
    loop_.drain();
  }
  std::string status(const std::string& name) { return api_.status_json("default", name); }

  testing::ManualLoop loop_;
  testing::FakeNetwork net_{loop_};
  std::unique_ptr<testing::FakeBus> bus_ = net_.connect("node-n1", bus::node_permissions("n1"));
  testing::FakeRuntime runtime_{loop_};
  testing::FakeApi api_{loop_};
  testing::FakeProbes probes_{loop_};
  InlineExecutor executor_{loop_};
  Sequence sequence_{1};
  projection::Cache nodes_{*model::Schema::get().by_resource("nodes")};
  std::unique_ptr<Registrar> registrar_;
  std::unique_ptr<Agent> agent_;
  std::unique_ptr<Housekeeper> housekeeper_;
  Signals signals_;
  std::pair<bool, bool> pressure_;
  size_t images_ = 0;
  std::vector<std::string> events_;
};

TEST_F(HousekeeperTest, WhatDoesNotFitIsRefused) {
  put("a", R"({"requests":{"cpu":"1500m"}})");
  EXPECT_EQ(api_.phase("default", "a"), "Running");
  put("b", R"({"requests":{"cpu":"500m"}})");
  EXPECT_EQ(api_.phase("default", "b"), "Failed");
  EXPECT_THAT(status("b"), HasSubstr(R"("reason":"OutOfcpu")"));
  EXPECT_THAT(status("b"),
              HasSubstr("Node didn't have enough resource: cpu, requested: 500, used: 1500, capacity: 1900"));
  EXPECT_EQ(runtime_.pod("b"), nullptr) << "nothing was made for it";
  put("c");
  put("d");
  put("e");
  EXPECT_THAT(status("e"), HasSubstr(R"("reason":"OutOfpods")"));
}

TEST_F(HousekeeperTest, AForbiddenSysctlIsRefused) {
  put("a", "{}", R"("securityContext":{"sysctls":[{"name":"kernel.msgmax","value":"1"}]},)");
  EXPECT_EQ(api_.phase("default", "a"), "Failed");
  EXPECT_THAT(status("a"), HasSubstr(R"("reason":"SysctlForbidden")"));
  EXPECT_THAT(events_, Contains("SysctlForbidden: forbidden sysctl: \"kernel.msgmax\" not allowlisted"));
}

TEST_F(HousekeeperTest, ARunningPodGetsWhatItsSpecSaysNow) {
  put("a", R"({"requests":{"cpu":"500m"},"limits":{"cpu":"1"}})");
  put("a", R"({"requests":{"cpu":"600m"},"limits":{"cpu":"1500m"}})");
  EXPECT_EQ(runtime_.updated["c"].cpu_quota, 150'000);
  EXPECT_EQ(runtime_.updated["c"].cpu_shares, 614);
  EXPECT_THAT(status("a"), HasSubstr(R"("resources":{"limits":{"cpu":"1500m"},"requests":{"cpu":"600m"}})"));
  EXPECT_THAT(status("a"), Not(HasSubstr("PodResize")));
  EXPECT_THAT(runtime_.calls, Not(Contains(HasSubstr("stop_container"))));
}

TEST_F(HousekeeperTest, AResizeWaitsOrIsImpossible) {
  put("a", R"({"requests":{"cpu":"500m"}})");
  put("b", R"({"requests":{"cpu":"1"}})");
  put("a", R"({"requests":{"cpu":"5"}})");
  EXPECT_THAT(status("a"), HasSubstr(R"("reason":"Infeasible")"));
  EXPECT_THAT(status("a"), HasSubstr("Node didn't have enough capacity: cpu, requested: 5000, capacity: 1900"));
  put("a", R"({"requests":{"cpu":"1"}})");
  EXPECT_THAT(status("a"), HasSubstr(R"("type":"PodResizePending","status":"True")"));
  EXPECT_THAT(status("a"), HasSubstr(R"("reason":"Deferred")"));
  EXPECT_THAT(status("a"), HasSubstr(R"("resources":{"requests":{"cpu":"500m"}})")) << "what it has";
  EXPECT_TRUE(runtime_.updated.empty());
  api_.remove_pod("default", "b");
  loop_.advance(minutes(1));
  EXPECT_EQ(runtime_.updated["c"].cpu_shares, 1024);
  EXPECT_THAT(status("a"), Not(HasSubstr("PodResize")));
}

TEST_F(HousekeeperTest, AResizeThatFailsIsToldAndTriedAgain) {
  put("a", R"({"requests":{"cpu":"500m"}})");
  runtime_.fail_next("update_container", {Code::kInternal, "device or resource busy"});
  put("a", R"({"requests":{"cpu":"600m"}})");
  EXPECT_THAT(status("a"), HasSubstr(R"("reason":"Error","message":"device or resource busy")"));
  loop_.advance(seconds(30));
  EXPECT_THAT(status("a"), Not(HasSubstr("PodResize")));
}

TEST_F(HousekeeperTest, UnderPressureThePodGoesThatTakesMost) {
  put("small");
  put("large", R"({"requests":{"memory":"10Mi"}})");
  runtime_.uses = {{"1", "small", "default", "small", "c", 0, 5 << 20, 0, 0, 0, 0},
                   {"2", "large", "default", "large", "c", 0, 500 << 20, 0, 0, 0, 0}};
  loop_.advance(minutes(1));
  EXPECT_EQ(api_.phase("default", "large"), "Running");
  signals_["memory.available"].available = 50 << 20;
  loop_.advance(seconds(10));
  EXPECT_TRUE(pressure_.first);
  EXPECT_EQ(api_.phase("default", "large"), "Failed");
  EXPECT_EQ(api_.phase("default", "small"), "Running");
  EXPECT_THAT(status("large"), HasSubstr(R"("reason":"Evicted")"));
  EXPECT_THAT(status("large"), HasSubstr("The node was low on resource: memory."));
  EXPECT_THAT(status("large"), HasSubstr("DisruptionTarget"));
  EXPECT_THAT(events_, Contains(HasSubstr("Evicted: The node was low on resource: memory")));
  put("late");
  EXPECT_THAT(status("late"), HasSubstr("The node had condition: [MemoryPressure]. "));
  EXPECT_EQ(housekeeper_->counters().evicted, 1U);
}

TEST_F(HousekeeperTest, WhatAVictimLeavesBehindIsSeenBeforeAnotherGoes) {
  put("first", R"({"requests":{"memory":"10Mi"}})");
  put("second", R"({"requests":{"memory":"10Mi"}})");
  runtime_.uses = {{"1", "first", "default", "first", "c", 0, 500 << 20, 0, 0, 0, 0},
                   {"2", "second", "default", "second", "c", 0, 400 << 20, 0, 0, 0, 0}};
  signals_["memory.available"].available = 50 << 20;
  runtime_.hold("stop_container");
  loop_.advance(seconds(10));
  ASSERT_THAT(events_, Contains(HasSubstr("Evicted")).Times(1));
  // A look that begins before the end of the first and concludes after it.
  runtime_.hold("usage");
  loop_.advance(seconds(10));
  runtime_.release("stop_container");
  loop_.drain();
  ASSERT_EQ(api_.phase("default", "first"), "Failed");
  signals_["memory.available"].available = 550 << 20;
  runtime_.release("usage");
  loop_.advance(seconds(30));
  EXPECT_EQ(api_.phase("default", "second"), "Running");
  EXPECT_EQ(housekeeper_->counters().evicted, 1U);
}

TEST_F(HousekeeperTest, ALimitOfStorageIsKept) {
  put("a", R"({"limits":{"ephemeral-storage":"1Mi"}})");
  runtime_.uses = {{"1", "a", "default", "a", "c", 0, 0, 2 << 20, 0, 0, 0}};
  loop_.advance(seconds(10));
  EXPECT_EQ(api_.phase("default", "a"), "Failed");
  EXPECT_THAT(status("a"), HasSubstr(R"(Container c exceeded its local ephemeral storage limit \"1Mi\". )"));
}

TEST_F(HousekeeperTest, AFullDiskCostsImagesBeforePods) {
  put("a");
  Image old, used;
  old.id = "sha256:old";
  old.size = 100;
  used.id = "sha256:demo:1";
  used.tags = {"demo:1"};
  runtime_.describe_image("old:1", old);
  runtime_.describe_image("demo:1", used);
  loop_.advance(minutes(5));
  EXPECT_EQ(images_, 2U);
  signals_["nodefs.available"].available = 5;
  loop_.advance(seconds(10));
  EXPECT_TRUE(pressure_.second);
  EXPECT_THAT(runtime_.calls, Contains("remove_image sha256:old"));
  EXPECT_THAT(runtime_.calls, Not(Contains("remove_image sha256:demo:1")));
  EXPECT_EQ(api_.phase("default", "a"), "Running");
  signals_["nodefs.available"].available = 50;
  loop_.advance(minutes(6));
  EXPECT_FALSE(pressure_.second);
}

}  // namespace
}  // namespace gantry::nodeagent
