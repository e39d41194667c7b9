#include "services/nodeagent/resource/pod_resources.h"

#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "libs/model/object.h"

namespace gantry::nodeagent {
namespace {

class PodResourcesTest : public ::testing::Test {
 protected:
  const core::PodSpec& spec(const std::string& json) {
    const auto& kind = *model::Schema::get().by_resource("pods");
    auto bytes = model::from_json(kind, R"({"metadata":{"name":"p"},"spec":)" + json + "}");
    EXPECT_TRUE(bytes.ok()) << (bytes.ok() ? "" : bytes.error().message);
    pod_ = model::Object(kind, *bytes);
    return *pod_.as<core::Pod>()->spec();
  }
  model::Object pod_;
};

TEST_F(PodResourcesTest, TheMostThatEverRunsAtOnce) {
  const auto all = pod_resources(spec(R"({"overhead":{"cpu":"50m"},"containers":[
      {"name":"a","resources":{"requests":{"cpu":"100m","memory":"1Gi"},"limits":{"memory":"2Gi"}}},
      {"name":"b","resources":{"limits":{"cpu":"200m","memory":"1Gi"}}}],
      "initContainers":[{"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"10m"},"limits":{"memory":"1Mi"}}},
      {"name":"i","resources":{"requests":{"cpu":"900m"},"limits":{"memory":"1Mi"}}}]})"));
  EXPECT_EQ(amount(all.requests, "cpu"), 960) << "the init container beside the sidecar, and the overhead";
  EXPECT_EQ(amount(all.requests, "memory"), (2LL << 30) + (1 << 20));
  EXPECT_EQ(amount(all.limits, "memory"), (3LL << 30) + (1 << 20));
  EXPECT_FALSE(amount(all.limits, "cpu").has_value()) << "not all have one";
}

TEST_F(PodResourcesTest, WhatThePodSaysCounts) {
  const auto& s = spec(R"({"resources":{"requests":{"cpu":"1","memory":"1Gi"},"limits":{"cpu":"1","memory":"1Gi"}},
      "containers":[{"name":"a","resources":{"requests":{"cpu":"100m"}}}]})");
  EXPECT_EQ(amount(pod_resources(s).requests, "cpu"), 1000);
  EXPECT_EQ(pod_qos(s), Qos::kGuaranteed);
  EXPECT_EQ(pod_cgroup_resources(s).memory_limit, 1LL << 30);
  EXPECT_EQ(pod_cgroup_resources(s).cpu_quota, 100'000);
}

TEST_F(PodResourcesTest, QosClasses) {
  EXPECT_EQ(pod_qos(spec(R"({"containers":[{"name":"a"}]})")), Qos::kBestEffort);
  EXPECT_EQ(pod_qos(spec(R"({"containers":[{"name":"a","resources":{"limits":{"cpu":"1"}}}]})")), Qos::kBurstable);
  EXPECT_EQ(
      pod_qos(spec(
          R"({"containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"},"requests":{"cpu":"1000m"}}}]})")),
      Qos::kGuaranteed);
  EXPECT_EQ(
      pod_qos(spec(R"({"containers":[{"name":"a","resources":{"limits":{"cpu":"1","memory":"1Gi"}}},{"name":"b"}]})")),
      Qos::kBurstable);
  EXPECT_EQ(pod_qos(spec(R"({"containers":[{"name":"a","resources":{"requests":{"ephemeral-storage":"1Gi"}}}]})")),
            Qos::kBestEffort);
}

TEST_F(PodResourcesTest, WhomTheKernelKillsFirst) {
  const auto score = [&](const std::string& pod_more, const std::string& resources) {
    const auto& s = spec("{" + pod_more + R"("containers":[{"name":"a","resources":)" + resources + "}]}");
    return oom_score_adj(s, *s.containers()->Get(0), 8LL << 30);
  };
  EXPECT_EQ(score("", "{}"), 1000);
  EXPECT_EQ(score("", R"({"requests":{"memory":"4Gi"}})"), 500);
  EXPECT_EQ(score("", R"({"requests":{"cpu":"1"}})"), 999);
  EXPECT_EQ(score("", R"({"requests":{"memory":"100Gi"}})"), 3);
  EXPECT_EQ(score("", R"({"limits":{"cpu":"1","memory":"1Gi"}})"), -997);
  EXPECT_EQ(score(R"("priority":2000000000,)", "{}"), -997);
}

TEST_F(PodResourcesTest, AsTheKernelIsTold) {
  EXPECT_EQ(cpu_shares(0), 2);
  EXPECT_EQ(cpu_shares(1000), 1024);
  EXPECT_EQ(cpu_quota(1), 1000);
  EXPECT_EQ(cpu_weight(2), 1);
  EXPECT_EQ(cpu_weight(1024), 39);
  EXPECT_EQ(cpu_weight(262'144), 10'000);
  const auto& s =
      spec(R"({"containers":[{"name":"a","resources":{"limits":{"hugepages-2Mi":"4Mi","memory":"1Gi"}}}]})");
  EXPECT_EQ(container_resources(s, *s.containers()->Get(0), 0).hugepages.at("2MB"), 4 << 20);
}

}  // namespace
}  // namespace gantry::nodeagent
