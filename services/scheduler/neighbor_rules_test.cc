#include "services/scheduler/neighbor_rules.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "services/scheduler/testing/objects.h"

namespace gantry::scheduler {
namespace {

using testing::object;
using testing::place;

constexpr const char* kHost = "kubernetes.io/hostname";

std::string term(std::string_view app, std::string_view topology = kHost, std::string_view more = "") {
  return fmt::format(R"({{"labelSelector":{{"matchLabels":{{"app":"{}"}}}},"topologyKey":"{}"{}}})", app, topology,
                     more);
}
std::string affinity(std::string_view kind, std::string_view terms) {
  return fmt::format(R"("affinity":{{"{}":{{"requiredDuringSchedulingIgnoredDuringExecution":[{}]}}}},)", kind, terms);
}
std::string preferred(std::string_view kind, std::string_view term) {
  return fmt::format(
      R"("affinity":{{"{}":{{"preferredDuringSchedulingIgnoredDuringExecution":[{{"weight":10,"podAffinityTerm":{}}}]}}}},)",
      kind, term);
}
std::string spread(std::string_view app, std::string_view topology, std::string_view more = "",
                   std::string_view unsatisfiable = "DoNotSchedule") {
  return fmt::format(
      R"("topologySpreadConstraints":[{{"maxSkew":1,"topologyKey":"{}","whenUnsatisfiable":"{}","labelSelector":{{"matchLabels":{{"app":"{}"}}}}{}}}],)",
      topology, unsatisfiable, app, more);
}

/// Two zones: a and b in one, c in the other.
struct NeighborRulesTest : ::testing::Test {
  void SetUp() override {
    for (const auto& [name, zone] : {std::pair("a", "x"), {"b", "x"}, {"c", "y"}})
      cluster.set_node(testing::node(name, "4", "8Gi", fmt::format(R"({{"{}":"{}","zone":"{}"}})", kHost, name, zone)));
  }
  static model::Object pod(std::string_view name, std::string_view app, std::string_view spec = "",
                           std::string_view more = "") {
    return testing::pod(name, "{}", spec, "", fmt::format(R"({{"app":"{}"{}}})", app, more));
  }
  void run(std::string_view name, std::string_view app, std::string_view node, std::string_view spec = "") {
    cluster.set_pod(describe(pod(name, app, spec)), node);
  }
  std::string where(std::string_view app, std::string_view spec) { return place(cluster, pod("new", app, spec)); }
  /// The nodes that will do, in their order.
  std::string nodes(std::string_view app, std::string_view spec, std::string_view more = "") {
    const PodInfo info = describe(pod("new", app, spec, more));
    const NeighborRules rules(cluster, info);
    std::string out;
    for (const NodeInfo& node : cluster.nodes()) {
      if (node.object && rules.refuses(node) == nullptr) out += node.name;
    }
    return out;
  }
  Cluster cluster;
};

TEST_F(NeighborRulesTest, AskingNothingIsFree) {
  const PodInfo info = describe(pod("new", "web"));
  EXPECT_EQ(info.neighbors, nullptr);
  EXPECT_TRUE(NeighborRules(cluster, info).none());
}

TEST_F(NeighborRulesTest, ApartByHostAndByZone) {
  run("w1", "web", "a");
  EXPECT_EQ(nodes("web", affinity("podAntiAffinity", term("web"))), "bc");
  EXPECT_EQ(nodes("web", affinity("podAntiAffinity", term("web", "zone"))), "c");
  EXPECT_EQ(nodes("web", affinity("podAntiAffinity", term("web", "rack"))), "abc");  // nodes without it are no place
  run("w2", "web", "b");
  run("w3", "web", "c");
  EXPECT_EQ(where("web", affinity("podAntiAffinity", term("web"))),
            "0/3 nodes are available: 3 node(s) didn't match pod anti-affinity rules.");
  EXPECT_TRUE(cluster.remove_pod("d/w2"));
  EXPECT_EQ(where("web", affinity("podAntiAffinity", term("web"))), "b");
}

TEST_F(NeighborRulesTest, OthersRefuseToo) {
  run("db", "db", "a", affinity("podAntiAffinity", term("noisy")));
  EXPECT_EQ(nodes("noisy", ""), "bc");
  EXPECT_EQ(nodes("quiet", ""), "abc");
  run("n1", "noisy", "b");
  run("n2", "noisy", "c");
  EXPECT_EQ(place(cluster, testing::pod("new", R"({"cpu":"5"})", "", "", R"({"app":"noisy"})")),
            "0/3 nodes are available: 3 Insufficient cpu.");
  cluster.remove_node("b");
  cluster.remove_node("c");
  EXPECT_EQ(where("noisy", ""), "0/1 nodes are available: 1 node(s) didn't satisfy existing pods anti-affinity rules.");
  cluster.remove_pod("d/db");
  EXPECT_EQ(where("noisy", ""), "a");
}

TEST_F(NeighborRulesTest, TogetherNeedsOneThatIsThere) {
  EXPECT_EQ(where("web", affinity("podAffinity", term("cache"))),
            "0/3 nodes are available: 3 node(s) didn't match pod affinity rules.");
  run("c1", "cache", "b");
  EXPECT_EQ(nodes("web", affinity("podAffinity", term("cache"))), "b");
  EXPECT_EQ(nodes("web", affinity("podAffinity", term("cache", "zone"))), "ab");
  // Every term must hold, for the same pods.
  EXPECT_EQ(nodes("web", affinity("podAffinity", term("cache", "zone") + "," + term("web", "zone"))), "");
}

TEST_F(NeighborRulesTest, TheFirstOfAGroupNeedsNone) {
  EXPECT_EQ(nodes("web", affinity("podAffinity", term("web", "zone"))), "abc");
  EXPECT_EQ(nodes("web", affinity("podAffinity", term("web", "rack"))), "");
  run("w1", "web", "c");
  EXPECT_EQ(nodes("web", affinity("podAffinity", term("web", "zone"))), "c");
}

TEST_F(NeighborRulesTest, NamespacesByNameAndByLabels) {
  run("c1", "cache", "a");
  const auto in = [](const char* more) { return affinity("podAffinity", term("cache", kHost, more)); };
  EXPECT_EQ(nodes("web", in(R"(,"namespaces":["e"])")), "");
  EXPECT_EQ(nodes("web", in(R"(,"namespaces":["d","e"])")), "a");
  EXPECT_EQ(nodes("web", in(R"(,"namespaceSelector":{})")), "a");
  EXPECT_EQ(nodes("web", in(R"(,"namespaceSelector":{"matchLabels":{"team":"blue"}})")), "");
  const auto ns = object("namespaces", R"({"metadata":{"name":"d","labels":{"team":"blue"}}})");
  EXPECT_TRUE(cluster.set_namespace("d", ns));
  EXPECT_FALSE(cluster.set_namespace("d", ns));
  EXPECT_EQ(nodes("web", in(R"(,"namespaceSelector":{"matchLabels":{"team":"blue"}})")), "a");
  EXPECT_TRUE(cluster.set_namespace("d", {}));
  EXPECT_EQ(nodes("web", in(R"(,"namespaceSelector":{"matchLabels":{"team":"blue"}})")), "");
}

TEST_F(NeighborRulesTest, KeysOfItsOwnLabels) {
  cluster.set_pod(describe(pod("w1", "web", "", R"(,"version":"1")")), "a");
  const auto apart = affinity("podAntiAffinity", term("web", kHost, R"(,"matchLabelKeys":["version"])"));
  EXPECT_EQ(nodes("web", apart, R"(,"version":"1")"), "bc");
  EXPECT_EQ(nodes("web", apart, R"(,"version":"2")"), "abc");
  const auto others = affinity("podAntiAffinity", term("web", kHost, R"(,"mismatchLabelKeys":["version"])"));
  EXPECT_EQ(nodes("web", others, R"(,"version":"1")"), "abc");
  EXPECT_EQ(nodes("web", others, R"(,"version":"2")"), "bc");
}

TEST_F(NeighborRulesTest, LabelsThatChangeAreSeen) {
  run("w1", "web", "a");
  EXPECT_EQ(nodes("web", affinity("podAntiAffinity", term("web"))), "bc");
  EXPECT_FALSE(cluster.refresh_pod("d/w1", pod("w1", "web")));
  EXPECT_TRUE(cluster.refresh_pod("d/w1", pod("w1", "other")));
  EXPECT_EQ(nodes("web", affinity("podAntiAffinity", term("web"))), "abc");
}

TEST_F(NeighborRulesTest, SpreadsWithinItsSkew) {
  EXPECT_EQ(nodes("web", spread("web", "zone")), "abc");
  run("w1", "web", "a");
  EXPECT_EQ(nodes("web", spread("web", "zone")), "c");
  EXPECT_EQ(nodes("web", spread("web", kHost)), "bc");
  run("w2", "web", "c");
  EXPECT_EQ(nodes("web", spread("web", "zone")), "abc");
  EXPECT_EQ(nodes("other", spread("web", "zone")), "abc");
  // Two of at least three zones: the third counts as empty.
  EXPECT_EQ(nodes("web", spread("web", "zone", R"(,"minDomains":3)")), "");
  EXPECT_EQ(
      where("web", spread("web", "rack")),
      "0/3 nodes are available: 3 node(s) didn't match pod topology spread constraints (missing required label).");
  // A pod that ends leaves its place.
  auto ending = object(
      "pods",
      R"({"metadata":{"name":"w1","namespace":"d","uid":"u-w1","labels":{"app":"web"},"deletionTimestamp":"2026-01-01T00:00:00Z"},"spec":{"containers":[{"name":"c"}]}})");
  EXPECT_TRUE(cluster.refresh_pod("d/w1", ending));
  EXPECT_EQ(nodes("web", spread("web", "zone")), "ab");
}

TEST_F(NeighborRulesTest, NodesThatItMayNotUseAreNoPlaceUnlessItSaysSo) {
  run("w1", "web", "a");
  run("w2", "web", "b");
  const std::string only_x = R"("nodeSelector":{"zone":"x"},)";
  EXPECT_EQ(nodes("web", only_x + spread("web", "zone")), "abc");  // one zone is always even; c is refused elsewhere
  EXPECT_EQ(nodes("web", only_x + spread("web", "zone", R"(,"nodeAffinityPolicy":"Ignore")")), "c");
  cluster.set_node(testing::node("c", "4", "8Gi", fmt::format(R"({{"{}":"c","zone":"y"}})", kHost),
                                 R"({"taints":[{"key":"k","effect":"NoSchedule"}]})"));
  EXPECT_EQ(nodes("web", spread("web", "zone")), "c");
  EXPECT_EQ(nodes("web", spread("web", "zone", R"(,"nodeTaintsPolicy":"Honor")")), "abc");
}

TEST_F(NeighborRulesTest, PreferencesDecideAmongEquals) {
  run("c1", "cache", "b");
  EXPECT_EQ(where("web", preferred("podAffinity", term("cache"))), "b");
  run("n1", "noisy", "a");
  EXPECT_EQ(where("web", preferred("podAntiAffinity", term("noisy", "zone"))), "c");
  run("w1", "web", "a");
  run("w2", "web", "c");
  EXPECT_EQ(where("web", spread("web", kHost, "", "ScheduleAnyway")), "b");
}

TEST_F(NeighborRulesTest, CountsAreForgottenAndMadeAgain) {
  run("w1", "web", "a");
  EXPECT_EQ(nodes("web", affinity("podAntiAffinity", term("web"))), "bc");
  for (int i = 0; i < 600; ++i) nodes("x", affinity("podAntiAffinity", term(fmt::format("app-{}", i))));
  EXPECT_EQ(nodes("web", affinity("podAntiAffinity", term("web"))), "bc");
}

}  // namespace
}  // namespace gantry::scheduler
