#include "services/scheduler/preempt.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "services/scheduler/testing/objects.h"

namespace gantry::scheduler {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using testing::node;

/// Nodes a, b and c with 4 CPUs each.
struct PreemptTest : ::testing::Test {
  void SetUp() override {
    for (const char* name : {"a", "b", "c"}) cluster.set_node(node(name, "4", "8Gi", R"({"host":"x"})"));
  }
  static model::Object pod(std::string_view name, int priority, std::string_view cpu, std::string_view spec = "",
                           std::string_view meta = "", std::string_view status = "{}") {
    return testing::object(
        "pods",
        fmt::format(
            R"({{"metadata":{{"name":"{}","namespace":"d","uid":"u-{}","labels":{{"app":"{}"}}{}}},"spec":{{{}"priority":{},"containers":[{{"name":"c","resources":{{"requests":{{"cpu":"{}"}}}}}}]}},"status":{}}})",
            name, name, name.substr(0, 1), meta, spec, priority, cpu, status));
  }
  void runs(std::string_view on, const model::Object& object) { cluster.set_pod(describe(object), on); }
  /// "<node>: <victims>", or why not.
  std::string found(const model::Object& object) {
    const auto before = testing::place(cluster, object);
    const Preemption result = preempt(cluster, describe(object), budgets);
    EXPECT_EQ(testing::place(cluster, object), before) << "the cluster is as it was";
    if (result.node.empty()) return result.why_not;
    std::string out = result.node + ":";
    for (const PodInfo& victim : result.victims) out += " " + std::string(victim.object.name());
    return out;
  }
  Cluster cluster;
  std::vector<Budget> budgets;
};

TEST_F(PreemptTest, TheFewestAndLeastImportantGo) {
  runs("a", pod("a1", 10, "3"));
  runs("a", pod("a2", 0, "1"));
  runs("b", pod("b1", 5, "2"));
  runs("b", pod("b2", 5, "2"));
  runs("c", pod("c1", 5, "3"));
  runs("c", pod("c2", 100, "1"));
  EXPECT_EQ(found(pod("p", 50, "1")), "a: a2") << "the lowest priority that is enough";
  EXPECT_EQ(found(pod("p", 50, "2")), "b: b2") << "only one of two alike, and below 10";
  EXPECT_EQ(found(pod("p", 50, "3")), "c: c1") << "one rather than two of the same priority";
  EXPECT_EQ(found(pod("p", 50, "4")), "b: b1 b2") << "c2 is more important than the pod";
}

TEST_F(PreemptTest, TheYoungestOfEqualsGo) {
  for (const auto& [on, time] :
       {std::pair("a", "2026-01-01T00:00:00Z"), {"b", "2026-01-03T00:00:00Z"}, {"c", "2026-01-02T00:00:00Z"}})
    runs(on, pod(fmt::format("{}1", on), 0, "4", "", "", fmt::format(R"({{"startTime":"{}"}})", time)));
  EXPECT_EQ(found(pod("p", 1, "1")), "b: b1");
}

TEST_F(PreemptTest, SaysWhyNothingHelps) {
  cluster.set_node(node("c", "4", "8Gi", "{}", R"({"unschedulable":true})"));
  for (const char* on : {"a", "b", "c"}) runs(on, pod(fmt::format("{}1", on), 10, "4"));
  const std::string nobody =
      "0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming "
      "pod.";
  EXPECT_EQ(found(pod("p", 10, "1")), nobody) << "of equal priority";
  EXPECT_EQ(found(pod("p", 20, "5")), nobody) << "no node is that large";
  EXPECT_EQ(found(pod("p", 20, "1", R"("preemptionPolicy":"Never",)")), "not eligible due to preemptionPolicy=Never.");
  EXPECT_EQ(found(pod("p", 20, "1")), "b: b1");
}

TEST_F(PreemptTest, BudgetsAreBrokenOnlyWhereNothingElseHelps) {
  runs("a", pod("a1", 0, "4"));
  runs("b", pod("b1", 9, "4"));
  runs("c", pod("c1", 9, "2"));
  runs("c", pod("c2", 9, "2"));
  budgets.push_back({"d", *model::LabelSelector::parse("app=a"), 0});
  budgets.push_back({"d", *model::LabelSelector::parse("app=c"), 1});
  EXPECT_EQ(found(pod("p", 50, "4")), "b: b1");
  EXPECT_EQ(found(pod("p", 50, "2")), "b: b1") << "of c one may go, but b's victims are as many and as important";
  cluster.remove_pod("d/b1");
  runs("b", pod("b1", 90, "4"));
  EXPECT_EQ(found(pod("p", 50, "2")), "c: c1");
  EXPECT_EQ(found(pod("p", 50, "4")), "a: a1") << "one budget is broken either way: then the lowest priority";
  budgets.push_back({"e", *model::LabelSelector::parse("app=c"), 0});
  EXPECT_EQ(found(pod("p", 50, "2")), "c: c1") << "a budget of another namespace says nothing";
}

TEST_F(PreemptTest, ThoseThatEndAnywayCostNothing) {
  for (const char* on : {"a", "b"}) runs(on, pod(fmt::format("{}1", on), 0, "4"));
  runs("c", pod("c1", 5, "3", "", R"(,"deletionTimestamp":"2026-01-01T00:00:00Z")"));
  runs("c", pod("c2", 5, "1"));
  EXPECT_EQ(found(pod("p", 50, "3")), "c:");
}

TEST_F(PreemptTest, RoomIsMoreThanResources) {
  const std::string apart =
      R"("affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"labelSelector":{"matchLabels":{"app":"w"}},"topologyKey":"host"}]}},)";
  runs("a", pod("w", 0, "1"));
  EXPECT_THAT(found(pod("p", 5, "1", apart)), ::testing::StartsWith("a: w")) << "all nodes are one place";
  EXPECT_THAT(found(pod("p", 0, "1", apart)), ::testing::HasSubstr("3 No preemption victims"));
}

}  // namespace
}  // namespace gantry::scheduler
