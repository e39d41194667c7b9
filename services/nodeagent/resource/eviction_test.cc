#include "services/nodeagent/resource/eviction.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "services/nodeagent/resource/cgroups.h"

namespace gantry::nodeagent {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int64_t kMi = 1 << 20;
constexpr WallMicros kSecond = 1'000'000;

TEST(Thresholds, AreRead) {
  auto t = parse_thresholds("memory.available<100Mi,nodefs.available<10%,pid.available<5");
  ASSERT_TRUE(t.ok());
  ASSERT_EQ(t->size(), 3U);
  EXPECT_EQ((*t)[0].quantity({}), 100 * kMi);
  EXPECT_EQ((*t)[1].quantity({0, 200}), 20);
  EXPECT_TRUE(parse_thresholds("")->empty());
  EXPECT_TRUE(parse_thresholds("nodefs.available<0%")->empty());
  for (const char* wrong : {"memory<1", "memory.available", "memory.available<x", "memory.available<200%"})
    EXPECT_FALSE(parse_thresholds(wrong).ok()) << wrong;
  auto soft = parse_soft_thresholds("memory.available<1Gi", "memory.available=1m30s");
  ASSERT_TRUE(soft.ok());
  EXPECT_EQ((*soft)[0].grace, std::chrono::seconds(90));
  EXPECT_FALSE(parse_soft_thresholds("memory.available<1Gi", "").ok());
}

class EvictionTest : public ::testing::Test {
 protected:
  EvictionTest() {
    options_.thresholds = *parse_thresholds("memory.available<100Mi,nodefs.available<10%,pid.available<10");
    signals_ = {
        {"memory.available", {500 * kMi, 1000 * kMi}}, {"nodefs.available", {50, 100}}, {"pid.available", {100, 1000}}};
  }
  EvictionDecision look() { return decide_eviction(options_, signals_, pods_, now_, memory_); }
  PodUse pod(const std::string& uid, int64_t memory, int64_t request, int64_t priority = 0) {
    PodUse p;
    p.uid = uid;
    p.priority = priority;
    p.memory = memory * kMi;
    p.memory_request = request * kMi;
    p.containers = {{"c", memory * kMi, request * kMi, 0, 0}};
    return p;
  }
  EvictionOptions options_;
  Signals signals_;
  std::vector<PodUse> pods_;
  WallMicros now_ = 1'000 * kSecond;
  EvictionMemory memory_;
};

TEST_F(EvictionTest, WhoUsesMoreThanAskedGoesFirstThenByPriorityThenByHowMuch) {
  pods_ = {pod("within", 900, 1000), pod("important", 500, 1, 10), pod("little", 20, 10), pod("much", 90, 10)};
  EXPECT_FALSE(look().victim);
  EXPECT_FALSE(look().memory_pressure);
  signals_["memory.available"].available = 50 * kMi;
  std::vector<std::string> order;
  while (!pods_.empty()) {
    auto d = look();
    ASSERT_TRUE(d.victim && d.memory_pressure);
    order.push_back(d.victim->uid);
    std::erase_if(pods_, [&](const PodUse& p) { return p.uid == order.back(); });
  }
  EXPECT_THAT(order, ElementsAre("much", "little", "important", "within"));
}

TEST_F(EvictionTest, TheMessageIsTheOneThatUsersKnow) {
  pods_ = {pod("p", 90, 10)};
  signals_["memory.available"].available = 50 * kMi;
  auto d = look();
  EXPECT_EQ(d.victim->message,
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. Container c was using "
            "90Mi, request is 10Mi, has larger consumption of memory. ");
  EXPECT_EQ(d.victim->grace_seconds, 0);
}

TEST_F(EvictionTest, CriticalPodsStay) {
  pods_ = {pod("p", 90, 10)};
  pods_[0].critical = true;
  signals_["memory.available"].available = 0;
  EXPECT_TRUE(look().memory_pressure);
  EXPECT_FALSE(look().victim);
}

TEST_F(EvictionTest, AConditionOutlastsItsCause) {
  signals_["memory.available"].available = 50 * kMi;
  EXPECT_TRUE(look().memory_pressure);
  signals_["memory.available"].available = 500 * kMi;
  now_ += 200 * kSecond;
  EXPECT_TRUE(look().memory_pressure);
  EXPECT_EQ(look().starved, "");
  now_ += 101 * kSecond;
  EXPECT_FALSE(look().memory_pressure);
}

TEST_F(EvictionTest, ASoftThresholdMustHold) {
  options_.thresholds = *parse_soft_thresholds("memory.available<600Mi", "memory.available=30s");
  options_.max_pod_grace_seconds = 7;
  pods_ = {pod("p", 90, 10)};
  EXPECT_FALSE(look().memory_pressure);
  now_ += 29 * kSecond;
  EXPECT_FALSE(look().victim);
  now_ += kSecond;
  EXPECT_EQ(look().victim->grace_seconds, 7);
  signals_["memory.available"].available = 700 * kMi;
  look();
  signals_["memory.available"].available = 500 * kMi;
  EXPECT_FALSE(look().victim) << "it starts anew";
}

TEST_F(EvictionTest, DiskIsReclaimedFromImagesFirst) {
  auto p = pod("p", 1, 1);
  p.disk = 300;
  pods_ = {p, pod("q", 1, 1)};
  signals_["nodefs.available"].available = 5;
  auto d = look();
  EXPECT_TRUE(d.disk_pressure && d.reclaim_disk);
  EXPECT_EQ(d.victim->uid, "p");
  EXPECT_THAT(d.victim->message, HasSubstr("low on resource: ephemeral-storage. Threshold quantity: 10, available: 5"));
  signals_["nodefs.available"].available = 50;
  signals_["pid.available"].available = 1;
  pods_[1].processes = 40;
  d = look();
  EXPECT_TRUE(d.pid_pressure);
  EXPECT_EQ(d.victim->uid, "q");
}

class CgroupsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    char name[] = "/tmp/gantry-cgroups-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    root_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void put(const std::string& path, const std::string& text = "") {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }
  std::string read(const std::string& path) {
    std::ifstream in(root_ + path);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  }
  std::string root_;
};

TEST_F(CgroupsTest, VersionOne) {
  for (const char* file :
       {"/cpu/cgroup.procs", "/memory/cgroup.procs", "/cpu/p/podu/cpu.shares", "/cpu/p/podu/cpu.cfs_quota_us",
        "/cpu/p/podu/cpu.cfs_period_us", "/memory/p/podu/memory.limit_in_bytes"})
    put(file);
  Cgroups cgroups(root_);
  EXPECT_EQ(cgroups.version(), Cgroups::Version::kV1);
  Resources r;
  r.cpu_shares = 512;
  r.cpu_quota = 50'000;
  ASSERT_TRUE(cgroups.apply("/p/podu", r, 10).ok());
  EXPECT_EQ(read("/cpu/p/podu/cpu.shares"), "512");
  EXPECT_EQ(read("/cpu/p/podu/cpu.cfs_quota_us"), "50000");
  EXPECT_EQ(read("/memory/p/podu/memory.limit_in_bytes"), "-1");
  put("/memory/p/memory.usage_in_bytes", "1000");
  put("/memory/p/memory.stat", "cache 7\ntotal_inactive_file 300\n");
  EXPECT_EQ(cgroups.working_set("/p"), 700U);
  EXPECT_THAT(cgroups.children("/p"), ElementsAre("podu"));
  EXPECT_EQ(uid_of_cgroup("podu"), "u");
  EXPECT_EQ(uid_of_cgroup("burstable"), "");
}

TEST_F(CgroupsTest, VersionTwo) {
  for (const char* file : {"/cgroup.controllers", "/cgroup.subtree_control", "/p/cgroup.subtree_control",
                           "/p/podu/cpu.weight", "/p/podu/cpu.max", "/p/podu/memory.max", "/p/podu/pids.max"})
    put(file);
  Cgroups cgroups(root_);
  EXPECT_EQ(cgroups.version(), Cgroups::Version::kV2);
  Resources r;
  r.cpu_shares = 1024;
  r.memory_limit = 4096;
  ASSERT_TRUE(cgroups.apply("/p/podu", r, 10).ok());
  EXPECT_EQ(read("/p/podu/cpu.weight"), "39");
  EXPECT_EQ(read("/p/podu/cpu.max"), "max 100000");
  EXPECT_EQ(read("/p/podu/memory.max"), "4096");
  EXPECT_EQ(read("/p/podu/pids.max"), "10");
  put("/p/memory.current", "1000");
  put("/p/memory.stat", "inactive_file 1");
  EXPECT_EQ(cgroups.working_set("/p"), 999U);
}

}  // namespace
}  // namespace gantry::nodeagent
