#include "services/nodeagent/node/usage_reporter.h"

#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/testing/fake_bus.h"
#include "libs/model/object.h"
#include "schemas/node_generated.h"
#include "services/nodeagent/runtime/hollow_runtime.h"

namespace gantry::nodeagent {
namespace {

using std::chrono::seconds;

class CountingRuntime final : public HollowRuntime {
 public:
  using HollowRuntime::HollowRuntime;
  void usage(Done<std::vector<ContainerUsage>> done) override {
    ++asked;
    if (hangs) {
      waiting.push_back(std::move(done));
    } else {
      done(answer);
    }
  }
  int asked = 0;
  bool hangs = false;
  Result<std::vector<ContainerUsage>> answer = std::vector<ContainerUsage>();
  std::vector<Done<std::vector<ContainerUsage>>> waiting;
};

class UsageReporterTest : public ::testing::Test {
 protected:
  void start(std::function<NodeUsage()> machine) {
    listening_ = gateway_->subscribe("gantry.node.n%2E1.up.stats", "",
                                     [this](const bus::Message& message) { got_.emplace_back(message.data); });
    reporter_ = std::make_unique<UsageReporter>(loop_, *bus_, runtime_, "n.1", seconds(5), std::move(machine));
  }
  void pass(int periods) {
    for (int i = 0; i < periods; ++i) {
      loop_.advance(seconds(5));
      loop_.drain();
    }
  }
  const node::Stats* last() { return flatbuffers::GetRoot<node::Stats>(got_.back().data()); }

  testing::ManualLoop loop_;
  testing::FakeNetwork net_{loop_};
  std::unique_ptr<testing::FakeBus> bus_ = net_.connect("node-n.1", bus::node_permissions("n.1")),
                                    gateway_ = net_.connect("apigw", bus::apigw_permissions());
  CountingRuntime runtime_{loop_, "n.1"};
  std::vector<std::string> got_;
  std::unique_ptr<bus::Subscription> listening_;
  std::unique_ptr<UsageReporter> reporter_;
};

TEST_F(UsageReporterTest, SaysEachPeriodWhatEachContainerUses) {
  runtime_.answer = std::vector<Runtime::ContainerUsage>{{"c1", "u1", "default", "web", "app", 100, 200, 300},
                                                         {"c2", "u2", "kube-system", "dns", "dns", 7, 8, 9},
                                                         {"c3", "u1", "default", "web", "log", 1, 2, 3}};
  start([] { return NodeUsage{1'000, 2'000}; });
  EXPECT_EQ(got_.size(), 0U);
  pass(2);
  ASSERT_EQ(got_.size(), 2U);
  const auto* stats = last();
  EXPECT_EQ(model::str(stats->node()), "n.1");
  EXPECT_EQ(stats->time(), loop_.wall());
  EXPECT_EQ(stats->usage()->cpu_nanos(), 1'000U);
  EXPECT_EQ(stats->usage()->memory_working_set(), 2'000U);
  ASSERT_EQ(stats->pods()->size(), 2U);
  const auto* web = stats->pods()->Get(0);
  EXPECT_EQ(model::str(web->namespace_()), "default");
  EXPECT_EQ(model::str(web->name()), "web");
  EXPECT_EQ(model::str(web->uid()), "u1");
  ASSERT_EQ(web->containers()->size(), 2U);
  EXPECT_EQ(model::str(web->containers()->Get(1)->name()), "log");
  EXPECT_EQ(web->containers()->Get(0)->usage()->cpu_nanos(), 100U);
  EXPECT_EQ(web->containers()->Get(0)->usage()->memory_working_set(), 200U);
  EXPECT_EQ(web->containers()->Get(0)->usage()->fs_used(), 300U);
}

TEST_F(UsageReporterTest, APartOfAMachineUsesWhatItsContainersDoAndNeverGoesBack) {
  using List = std::vector<Runtime::ContainerUsage>;
  start({});
  runtime_.answer =
      List{{"c1", "u1", "default", "web", "app", 100, 10, 0}, {"c2", "u1", "default", "web", "b", 50, 20, 0}};
  pass(1);
  EXPECT_EQ(last()->usage()->cpu_nanos(), 150U);
  EXPECT_EQ(last()->usage()->memory_working_set(), 30U);
  runtime_.answer =
      List{{"c1", "u1", "default", "web", "app", 130, 10, 0}, {"c3", "u1", "default", "web", "b", 5, 1, 0}};
  pass(1);
  EXPECT_EQ(last()->usage()->cpu_nanos(), 185U);
  EXPECT_EQ(last()->usage()->memory_working_set(), 11U);
}

TEST_F(UsageReporterTest, ARuntimeThatHangsIsAskedOnceAndOneThatFailsIsAskedAgain) {
  start([] { return NodeUsage{}; });
  runtime_.hangs = true;
  pass(3);
  EXPECT_EQ(runtime_.asked, 1);
  runtime_.hangs = false;
  runtime_.waiting[0](Error{Code::kUnavailable, "away"});
  EXPECT_EQ(got_.size(), 0U);
  pass(1);
  EXPECT_EQ(got_.size(), 1U);
  runtime_.hangs = true;
  pass(1);
  reporter_.reset();
  runtime_.waiting[1](std::vector<Runtime::ContainerUsage>());
  loop_.drain();
  EXPECT_EQ(got_.size(), 1U);
}

TEST(Exposition, HasCadvisorsNames) {
  const std::vector<Runtime::ContainerUsage> containers = {
      {"c1", "u1", "default", "web", "app", 1'500'000'000, 200, 300, 250, 150, 9}};
  const std::vector<Runtime::PodUsage> pods = {{"u1", "default", "web", {{"eth0", 1, 2, 3, 4}}, 5}};
  const auto text = expose_usage({2'000'000'000, 77}, containers, pods);
  for (const char* line :
       {"# TYPE container_cpu_usage_seconds_total counter\n",
        "container_cpu_usage_seconds_total{namespace=\"default\",pod=\"web\",container=\"app\",id=\"c1\"} 1.5\n",
        "container_memory_working_set_bytes{namespace=\"default\",pod=\"web\",container=\"app\",id=\"c1\"} 200\n",
        "container_fs_inodes_used{namespace=\"default\",pod=\"web\",container=\"app\",id=\"c1\"} 9\n",
        "container_network_transmit_bytes_total{namespace=\"default\",pod=\"web\",interface=\"eth0\"} 3\n",
        "container_processes{namespace=\"default\",pod=\"web\"} 5\n", "node_cpu_usage_seconds_total 2\n",
        "node_memory_working_set_bytes 77\n"})
    EXPECT_NE(text.find(line), std::string::npos) << line << text;
}

TEST(MachineUsage, IsWhatProcSays) {
  const auto usage = parse_usage("cpu  100 2 30 4000 500 6 7 8 90 10\ncpu0 1 1 1 1\n",
                                 "MemTotal:       1000 kB\nMemFree:         100 kB\nMemAvailable:    400 kB\n", 100);
  EXPECT_EQ(usage.cpu_nanos, (100U + 2 + 30 + 6 + 7 + 8) * 10'000'000);
  EXPECT_EQ(usage.memory_working_set, 600U * 1024);
  EXPECT_EQ(parse_usage("", "", 100).cpu_nanos, 0U);
  EXPECT_GT(machine_usage().memory_working_set, 0U);
}

}  // namespace
}  // namespace gantry::nodeagent
