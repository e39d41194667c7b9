// The metrics API: what `kubectl top` reads.
#include <gtest/gtest.h>

#include "libs/bus/testing/fake_bus.h"
#include "libs/model/json.h"
#include "libs/usage/usage_board.h"
#include "schemas/node_generated.h"
#include "services/apigw/core/testing/test_gateway.h"

namespace gantry::apigw::testing {
namespace {

using Json = nlohmann::json;

constexpr char kPods[] = "pods.v1beta1.metrics.k8s.io", kNodes[] = "nodes.v1beta1.metrics.k8s.io";

class MetricsTest : public ::testing::Test {
 protected:
  MetricsTest() {
    EXPECT_TRUE(gateway_.create("nodes", "", {{"metadata", {{"name", "n1"}, {"labels", {{"zone", "a"}}}}}}).ok());
    EXPECT_TRUE(gateway_.create("nodes", "", {{"metadata", {{"name", "n2"}}}}).ok());
    for (const char* name : {"web", "idle"}) {
      auto pod = TestGateway::pod(name);
      pod["metadata"]["labels"] = {{"app", name}};
      EXPECT_TRUE(gateway_.create("pods", "default", pod).ok());
      EXPECT_TRUE(gateway_.bind("default", name, "n1").ok());
      uids_[name] = gateway_.stored("pods", "default", name)["metadata"]["uid"];
    }
  }
  // What `node` says at `second`: it used as many seconds of CPU as the clock shows, its pods' containers half of that.
  void report(const std::string& node, int second, const std::vector<std::string>& pods) {
    constexpr uint64_t kMilli = 1'000'000;
    flatbuffers::FlatBufferBuilder b;
    std::vector<flatbuffers::Offset<node::PodStats>> packed;
    for (const auto& pod : pods) {
      auto one = node::CreateContainerStats(
          b, b.CreateString("app"), node::CreateUsage(b, static_cast<uint64_t>(second) * 500 * kMilli, 3 << 20));
      packed.push_back(node::CreatePodStats(b, b.CreateString("default"), b.CreateString(pod),
                                            b.CreateString(uids_[pod]), b.CreateVector(std::vector{one})));
    }
    b.Finish(node::CreateStats(b, b.CreateString(node), second * 1'000'000LL,
                               node::CreateUsage(b, static_cast<uint64_t>(second) * 1000 * kMilli, 5 << 20),
                               b.CreateVector(packed)));
    EXPECT_TRUE(agents_
                    ->publish("gantry.node." + node + ".up.stats",
                              {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()})
                    .ok());
    bus_loop_.drain();
  }
  Result<Answer> call(const std::string& resource, bus::Verb verb, const std::string& ns, const std::string& name,
                      const std::string& labels = "") {
    bus::Command command;
    command.verb = verb;
    command.resource = resource;
    command.ns = ns;
    command.name = name;
    command.label_selector = labels;
    return gateway_.call(command);
  }
  std::vector<std::string> names(const std::string& resource, const std::string& ns = "",
                                 const std::string& labels = "") {
    std::vector<std::string> out;
    auto answer = call(resource, bus::Verb::List, ns, "", labels);
    EXPECT_TRUE(answer.ok());
    if (!answer.ok()) return out;
    EXPECT_EQ(answer->outcome, Answer::Outcome::kList);
    for (const auto& item : answer->items) out.emplace_back(item.name());
    return out;
  }

  gantry::testing::ManualLoop bus_loop_;
  gantry::testing::FakeNetwork net_{bus_loop_};
  std::unique_ptr<gantry::testing::FakeBus> agents_ = net_.connect("agents"), bus_ = net_.connect("apigw");
  usage::UsageBoard board_{bus_loop_, *bus_};
  TestGateway gateway_{{.advertise_address = "192.0.2.1:6443", .usage = &board_}};
  std::map<std::string, std::string> uids_;
};

TEST_F(MetricsTest, IsMadeOfWhatTheNodesSay) {
  EXPECT_TRUE(names(kNodes).empty());
  for (int second : {1'000, 1'010}) report("n1", second, {"web"});
  auto node = call(kNodes, bus::Verb::Get, "", "n1");
  ASSERT_TRUE(node.ok()) << node.error().message;
  const auto json = model::to_tree(node->object);
  EXPECT_EQ(json["kind"], "NodeMetrics");
  EXPECT_EQ(json["apiVersion"], "metrics.k8s.io/v1beta1");
  EXPECT_EQ(json["metadata"]["labels"]["zone"], "a");
  EXPECT_EQ(json["timestamp"], "1970-01-01T00:16:50Z");
  EXPECT_EQ(json["window"], "10s");
  EXPECT_EQ(json["usage"], (Json{{"cpu", "1"}, {"memory", "5Mi"}}));

  auto pod = call(kPods, bus::Verb::Get, "default", "web");
  ASSERT_TRUE(pod.ok()) << pod.error().message;
  EXPECT_EQ(model::to_tree(pod->object)["containers"],
            Json::parse(R"([{"name":"app","usage":{"cpu":"500m","memory":"3Mi"}}])"));
  // Not measured, or not there.
  EXPECT_EQ(call(kPods, bus::Verb::Get, "default", "idle").error().code, Code::kNotFound);
  EXPECT_EQ(call(kNodes, bus::Verb::Get, "", "n2").error().code, Code::kNotFound);
}

TEST_F(MetricsTest, ListsByNamespaceAndLabel) {
  for (int second : {1'000, 1'010}) report("n1", second, {"web", "idle"});
  EXPECT_EQ(names(kNodes), (std::vector<std::string>{"n1"}));
  EXPECT_EQ(names(kPods), (std::vector<std::string>{"idle", "web"}));
  EXPECT_EQ(names(kPods, "default", "app=web"), (std::vector<std::string>{"web"}));
  EXPECT_TRUE(names(kPods, "kube-system").empty());
  EXPECT_EQ(call(kPods, bus::Verb::List, "", "", "a in (").error().code, Code::kBadRequest);
}

TEST_F(MetricsTest, APodsUseIsSaidByItsNodeOnly) {
  for (int second : {1'000, 1'010}) report("n2", second, {"web"});
  EXPECT_TRUE(names(kPods).empty());
}

TEST_F(MetricsTest, IsReadOnlyAndNotForEverybody) {
  for (auto verb : {bus::Verb::Create, bus::Verb::Delete, bus::Verb::Update})
    EXPECT_EQ(call(kNodes, verb, "", "n1").error().code, Code::kMethodNotAllowed);
  auto nobody = identity_of_bus("someone");
  bus::Command list{.verb = bus::Verb::List, .resource = kPods};
  EXPECT_EQ(gateway_.call(list, &nobody).error().code, Code::kForbidden);
}

}  // namespace
}  // namespace gantry::apigw::testing
