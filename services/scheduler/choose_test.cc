#include "services/scheduler/choose.h"

#include <gtest/gtest.h>

#include <random>

#include "services/scheduler/testing/objects.h"

namespace gantry::scheduler {
namespace {

using testing::node;
using testing::object;
using testing::place;
using testing::pod;

TEST(Requests, CountAsKubernetesDoes) {
  auto requests = [](std::string_view spec) {
    return pod_requests(*object("pods", fmt::format(R"({{"metadata":{{"name":"p"}},"spec":{}}})", spec))
                             .as<api::core_v1::Pod>()
                             ->spec());
  };
  EXPECT_EQ(
      requests(
          R"({"containers":[{"name":"a","resources":{"requests":{"cpu":"100m"}}},{"name":"b","resources":{"requests":{"cpu":"1","memory":"1Gi"}}}]})")
          .cpu,
      1100);
  // The largest init container, not their sum; sidecars stay.
  EXPECT_EQ(
      requests(
          R"({"initContainers":[{"name":"i","resources":{"requests":{"cpu":"2"}}},{"name":"j","resources":{"requests":{"cpu":"1500m"}}}],
      "containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}]})")
          .cpu,
      2000);
  EXPECT_EQ(
      requests(
          R"({"initContainers":[{"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"500m"}}},{"name":"i","resources":{"requests":{"cpu":"2"}}}],
      "containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}],"overhead":{"cpu":"10m"}})")
          .cpu,
      2510);
}

TEST(Choose, FiltersWithKubernetesReasons) {
  Cluster cluster;
  EXPECT_EQ(place(cluster, pod("p")), "no nodes available to schedule pods");
  cluster.set_node(node("small", "1", "1Gi"));
  cluster.set_node(
      node("tainted", "64", "64Gi", "{}", R"({"taints":[{"key":"dedicated","value":"db","effect":"NoSchedule"}]})"));
  cluster.set_node(node("cordoned", "64", "64Gi", "{}", R"({"unschedulable":true})"));
  EXPECT_EQ(place(cluster, pod("p", R"({"cpu":"2","memory":"2Gi"})")),
            "0/3 nodes are available: 1 Insufficient cpu, 1 Insufficient memory, 1 node(s) had untolerated taint "
            "{dedicated: db}, 1 node(s) were unschedulable.");
  EXPECT_EQ(place(cluster, pod("p", R"({"cpu":"2"})",
                               R"("tolerations":[{"key":"dedicated","value":"db","effect":"NoSchedule"}],)")),
            "tainted");
  EXPECT_EQ(place(cluster, pod("p", R"({"cpu":"2"})",
                               R"("tolerations":[{"operator":"Exists"}],"nodeSelector":{"disk":"ssd"},)")),
            "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector.");
  EXPECT_EQ(place(cluster, pod("p")), "small");
  EXPECT_EQ(place(cluster, pod("p", R"({"nvidia.com/gpu":"1"})")),
            "0/3 nodes are available: 1 Insufficient nvidia.com/gpu, 1 node(s) had untolerated taint {dedicated: db}, "
            "1 node(s) were unschedulable.");
}

TEST(Choose, SelectorsAndAffinity) {
  Cluster cluster;
  cluster.set_node(node("a", "4", "8Gi", R"({"disk":"ssd","gen":"3"})"));
  cluster.set_node(node("b", "4", "8Gi", R"({"disk":"hdd","gen":"5"})"));
  EXPECT_EQ(place(cluster, pod("p", "{}", R"("nodeSelector":{"disk":"hdd"},)")), "b");
  auto affinity = [&](std::string_view expressions) {
    return place(
        cluster,
        pod("p", "{}",
            fmt::format(
                R"("affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":[{{{}}}]}}}}}},)",
                expressions)));
  };
  EXPECT_EQ(affinity(R"("matchExpressions":[{"key":"gen","operator":"Gt","values":["4"]}])"), "b");
  EXPECT_EQ(affinity(R"("matchExpressions":[{"key":"disk","operator":"NotIn","values":["hdd"]}])"), "a");
  EXPECT_EQ(affinity(R"("matchFields":[{"key":"metadata.name","operator":"In","values":["b"]}])"), "b");
  EXPECT_NE(affinity(""), "a");  // an empty term matches nothing
  EXPECT_EQ(
      place(
          cluster,
          pod("p", "{}",
              R"("affinity":{"nodeAffinity":{"preferredDuringSchedulingIgnoredDuringExecution":[{"weight":10,"preference":{"matchExpressions":[{"key":"disk","operator":"In","values":["hdd"]}]}}]}},)")),
      "b");
}

TEST(Choose, HostPortsAndPodLimit) {
  Cluster cluster;
  cluster.set_node(node("a", "4", "8Gi", "{}", "{}", 2));
  auto with_port = [](std::string_view name, std::string_view ip) {
    return object(
        "pods",
        fmt::format(
            R"({{"metadata":{{"name":"{}","namespace":"d"}},"spec":{{"containers":[{{"name":"c","ports":[{{"containerPort":80,"hostPort":80,"hostIP":"{}"}}]}}]}}}})",
            name, ip));
  };
  cluster.set_pod(describe(with_port("p", "10.0.0.1")), "a");
  EXPECT_EQ(place(cluster, with_port("q", "")),
            "0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.");
  EXPECT_EQ(place(cluster, with_port("q", "10.0.0.2")), "a");
  cluster.set_pod(describe(pod("r")), "a");
  EXPECT_EQ(place(cluster, pod("s")), "0/1 nodes are available: 1 Too many pods.");
}

TEST(Choose, SpreadsAControllersPods) {
  Cluster cluster;
  for (const char* name : {"a", "b", "c"}) cluster.set_node(node(name));
  std::map<std::string, int> count;
  size_t cursor = 0;
  for (int i = 0; i < 6; ++i) {
    PodInfo info = describe(pod(fmt::format("p{}", i), R"({"cpu":"100m"})", "", "rs-1"));
    Choice choice = choose(cluster, info, cursor);
    ASSERT_NE(choice.node, nullptr);
    ++count[choice.node->name];
    cluster.set_pod(info, std::string(choice.node->name));
  }
  EXPECT_EQ(count, (std::map<std::string, int>{{"a", 2}, {"b", 2}, {"c", 2}}));
}

TEST(Cluster, RoomComesBackAndUnknownNodesKeepTheirPods) {
  Cluster cluster;
  cluster.set_pod(describe(pod("early", R"({"cpu":"3"})")), "a");  // seen before its node
  EXPECT_EQ(cluster.node_count(), 0u);
  cluster.set_node(node("a"));
  EXPECT_EQ(cluster.node("a")->used.cpu, 3000);
  EXPECT_EQ(place(cluster, pod("p", R"({"cpu":"2"})")), "0/1 nodes are available: 1 Insufficient cpu.");
  uint64_t before = cluster.generation();
  EXPECT_TRUE(cluster.remove_pod("d/early"));
  EXPECT_GT(cluster.generation(), before);
  EXPECT_EQ(place(cluster, pod("p", R"({"cpu":"2"})")), "a");
  before = cluster.generation();
  EXPECT_FALSE(cluster.set_node(node("a")));  // a report that changes nothing wakes nobody
  EXPECT_EQ(cluster.generation(), before);
}

/// Random clusters, pods that come and go: no node ever gets more than it has, a pod is refused only if no node has
/// room, and the same history gives the same placements.
TEST(ChooseProperty, NeverOvercommitsAndIsDeterministic) {
  for (uint32_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(seed);
    auto history = [&] {
      std::mt19937 random(seed);
      auto pick = [&](uint32_t n) { return random() % n; };
      Cluster cluster;
      std::vector<std::string> names, placed, log;
      for (uint32_t i = 0, n = 1 + pick(300); i < n; ++i) {
        names.push_back(fmt::format("n{}", i));
        cluster.set_node(node(names.back(), std::to_string(1 + pick(8)), fmt::format("{}Gi", 1 + pick(16)),
                              fmt::format(R"({{"zone":"z{}"}})", pick(3)),
                              pick(5) == 0 ? R"({"taints":[{"key":"k","effect":"NoSchedule"}]})" : "{}",
                              static_cast<int>(1 + pick(20))));
      }
      size_t cursor = 0;
      for (int i = 0; i < 400; ++i) {
        if (!placed.empty() && pick(4) == 0) {
          std::swap(placed[pick(static_cast<uint32_t>(placed.size()))], placed.back());
          cluster.remove_pod(placed.back());
          placed.pop_back();
          continue;
        }
        PodInfo info = describe(pod(fmt::format("p{}", i),
                                    fmt::format(R"({{"cpu":"{}m","memory":"{}Mi"}})", 50 + pick(2000), pick(4000)),
                                    pick(3) == 0 ? fmt::format(R"("nodeSelector":{{"zone":"z{}"}},)", pick(3)) : "",
                                    fmt::format("rs{}", pick(4))));
        Choice choice = choose(cluster, info, cursor);
        if (choice.node == nullptr) {
          for (const NodeInfo& n : cluster.nodes()) EXPECT_FALSE(fits(n, info)) << n.name;
          log.push_back(choice.why.message());
          continue;
        }
        std::string name = choice.node->name;
        log.push_back(name);
        cluster.set_pod(info, name);
        placed.push_back(info.key);
        const NodeInfo& n = *cluster.node(name);
        EXPECT_LE(n.used.cpu, n.allocatable.cpu);
        EXPECT_LE(n.used.memory, n.allocatable.memory);
        EXPECT_LE(n.pods, n.max_pods);
        EXPECT_TRUE(n.taints.empty());
      }
      return log;
    };
    EXPECT_EQ(history(), history());
  }
}

}  // namespace
}  // namespace gantry::scheduler
