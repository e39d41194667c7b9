// A node that runs short, on real containers: of the memory of the pods' own cgroup, of a small disk of its own, of the
// processes that the cgroup may have. The machine has plenty of each.
#include <sys/mount.h>

#include "services/nodeagent/cri/testing/agent_story.h"
#include "services/nodeagent/node/housekeeper.h"

namespace gantry::nodeagent {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;
using ::testing::Contains;
using ::testing::HasSubstr;

class PressureTest : public NodeAgentTest {
 protected:
  void TearDown() override {
    housekeeper_.reset();
    NodeAgentTest::TearDown();
    if (small_disk_.empty()) return;
    umount2(small_disk_.c_str(), MNT_DETACH);
    rmdir(small_disk_.c_str());
  }
  void keep_house(const std::string& thresholds, int64_t memory) {
    HousekeeperOptions options;
    options.eviction.thresholds = *parse_thresholds(thresholds);
    options.eviction.pressure_transition = seconds(1);
    options.period = milliseconds(300);
    options.part_of_machine = true;
    options.memory_capacity = memory;
    Housekeeper::Callbacks callbacks;
    callbacks.pressure = [this](bool memory, bool disk, bool pid) { pressure_ = {memory, disk, pid}; };
    callbacks.images = [](const auto&) {};
    callbacks.record = [this](const model::Object& pod, const std::string& reason, const std::string&) {
      events_.push_back(fmt::format("{} {}", reason, pod.name()));
    };
    housekeeper_ = std::make_unique<Housekeeper>(loop_, executor_, *runtime_, *agent_, options, callbacks);
  }
  // The node's own disk, so that nobody else's is filled.
  void use_small_disk(const char* options) {
    stop_agent();
    char name[] = "/tmp/gantry-small-disk-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = small_disk_ = name;
    ASSERT_EQ(mount("tmpfs", name, "tmpfs", 0, options), 0);
    start_agent();
  }
  void run(const std::string& name, const std::string& command, const std::string& more = "") {
    put(name, fmt::format(R"({{"terminationGracePeriodSeconds":0,"restartPolicy":"Never",{}
        "volumes":[{{"name":"dir","emptyDir":{{}}}},{{"name":"mem","emptyDir":{{"medium":"Memory"}}}}],
        "containers":[{{"name":"main","image":"gantry.local/busybox:1","command":["sh","-c",{}],
          "resources":{{"requests":{{"memory":"8Mi"}}}},
          "volumeMounts":[{{"name":"dir","mountPath":"/dir"}},{{"name":"mem","mountPath":"/mem"}}]}}]}})",
                          more, nlohmann_quote(command)));
    ASSERT_TRUE(ready(name)) << status(name);
  }
  bool evicted(const std::string& name) {
    return until([&] { return api_.phase("default", name) == "Failed"; });
  }

  std::unique_ptr<Housekeeper> housekeeper_;
  std::array<bool, 3> pressure_{};
  std::vector<std::string> events_;
  std::string small_disk_;
};

TEST_F(PressureTest, OfMemoryTheOneAboveItsRequestGoesFirstAndThePriorityCounts) {
  run("modest", "sleep 1000", R"("priority":-1,)");
  run("greedy", "dd if=/dev/zero of=/mem/a bs=1M count=40; sleep 1000");
  run("important", "dd if=/dev/zero of=/mem/a bs=1M count=60; sleep 1000", R"("priority":1000,)");
  ASSERT_EQ(exec("important", "until [ $(stat -c %s /mem/a) = 62914560 ]; do sleep 0.1; done; echo full"), "full\n");
  keep_house("memory.available<100Mi", 192 << 20);
  ASSERT_TRUE(evicted("greedy")) << status("greedy");
  EXPECT_THAT(status("greedy"), HasSubstr(R"("reason":"Evicted")"));
  EXPECT_THAT(status("greedy"), HasSubstr("The node was low on resource: memory. Threshold quantity: 100Mi"));
  EXPECT_THAT(status("greedy"), HasSubstr("DisruptionTarget"));
  EXPECT_TRUE(until([&] { return !pressure_[0]; })) << "there is enough again";
  EXPECT_THAT(events_, Contains("Evicted greedy").Times(1));
  EXPECT_TRUE(api_.ready("default", "important") && api_.ready("default", "modest"));
}

TEST_F(PressureTest, OfTheDiskWhatWroteMostGoes) {
  use_small_disk("size=96m");
  run("modest", "sleep 1000");
  keep_house("nodefs.available<40Mi", 1 << 30);
  run("writer", "sleep 2; dd if=/dev/zero of=/dir/a bs=1M count=70; sleep 1000");
  ASSERT_TRUE(until([&] { return pressure_[1]; }));
  ASSERT_TRUE(until([&] { return api_.phase("default", "writer") == "Failed"; }, seconds(60))) << status("writer");
  EXPECT_THAT(status("writer"), HasSubstr("The node was low on resource: ephemeral-storage."));
  EXPECT_TRUE(api_.ready("default", "modest"));
}

TEST_F(PressureTest, OfProcessesTheOneWithMostGoes) {
  run("modest", "sleep 1000");
  const auto limit = "/sys/fs/cgroup/pids" + containerd_->cgroup() + "/pids.max";
  if (!std::filesystem::exists(limit)) GTEST_SKIP() << "no pids controller of cgroup v1";
  std::ofstream(limit) << "100";
  keep_house("pid.available<50", 1 << 30);
  run("forks", "sleep 1; for i in $(seq 60); do sleep 1000 & done; wait");
  ASSERT_TRUE(evicted("forks")) << status("forks");
  EXPECT_TRUE(pressure_[2]);
  EXPECT_THAT(status("forks"), HasSubstr("The node was low on resource: pids."));
  EXPECT_TRUE(until([&] { return !pressure_[2]; }));
  EXPECT_TRUE(api_.ready("default", "modest"));
  std::ofstream(limit) << "max";
}

TEST_F(PressureTest, APodHasNoMoreProcessesThanItMay) {
  pod_pids_ = 20;
  stop_agent();
  start_agent();
  run("forks", "for i in $(seq 40); do sleep 1000 & done; wait");
  EXPECT_TRUE(until([&] { return logs("forks").find("can't fork") != std::string::npos; })) << logs("forks");
}

}  // namespace
}  // namespace gantry::nodeagent
