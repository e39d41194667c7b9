// Evictions are charged to the PodDisruptionBudget, exactly.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "services/apigw/core/testing/test_gateway.h"

namespace gantry::apigw::testing {
namespace {

using Json = nlohmann::json;

class EvictTest : public ::testing::Test {
 protected:
  TestGateway g;

  void SetUp() override {
    if (model::Schema::get().by_resource("poddisruptionbudgets") == nullptr) GTEST_SKIP() << "not served";
    for (int i = 0; i < 4; ++i) {
      const std::string name = "p" + std::to_string(i);
      ASSERT_TRUE(g.create("pods", "default", TestGateway::pod(name)).ok());
      ASSERT_TRUE(g.bind("default", name, "n1").ok());
      ASSERT_TRUE(
          g.patch("pods", "default", name,
                  {{"status", {{"phase", "Running"}, {"conditions", {{{"type", "Ready"}, {"status", "True"}}}}}}},
                  "status")
              .ok());
    }
    ASSERT_TRUE(g.create("poddisruptionbudgets", "default",
                         {{"metadata", {{"name", "web"}}},
                          {"spec", {{"minAvailable", 2}, {"selector", {{"matchLabels", {{"app", "web"}}}}}}}})
                    .ok());
  }
  void allow(int disruptions) {
    const Json budget = g.stored("poddisruptionbudgets", "default", "web");
    const auto set = g.patch("poddisruptionbudgets", "default", "web",
                             {{"status",
                               {{"disruptionsAllowed", disruptions},
                                {"currentHealthy", 4},
                                {"desiredHealthy", 2},
                                {"expectedPods", 4},
                                {"observedGeneration", budget["metadata"].value("generation", 0)}}}},
                             "status");
    ASSERT_TRUE(set.ok()) << set.error().message;
  }
  Result<Answer> evict(const std::string& name, Api* on = nullptr) {
    return g.call({.verb = bus::Verb::Create,
                   .resource = "pods",
                   .subresource = "eviction",
                   .ns = "default",
                   .name = name,
                   .json = Json{{"metadata", {{"name", name}}}}.dump()},
                  nullptr, on);
  }
};

TEST_F(EvictTest, ABudgetLetsThroughWhatItAllows) {
  allow(0);
  const auto refused = evict("p0");
  ASSERT_EQ(refused.code(), Code::kTooManyRequests);
  EXPECT_EQ(refused.error().message, "Cannot evict pod as it would violate the pod's disruption budget.");
  ASSERT_EQ(refused.error().causes.size(), 1u);
  EXPECT_EQ(refused.error().causes[0].reason, "DisruptionBudget");
  EXPECT_EQ(refused.error().causes[0].message, "The disruption budget web needs 2 healthy pods and has 4 currently");
  EXPECT_EQ(refused.error().retry_after_seconds, 0u);
  allow(1);
  ASSERT_TRUE(evict("p0").ok());
  EXPECT_TRUE(g.stored("pods", "default", "p0")["metadata"].contains("deletionTimestamp"));
  const Json status = g.stored("poddisruptionbudgets", "default", "web")["status"];
  EXPECT_EQ(status.value("disruptionsAllowed", 0), 0);
  EXPECT_TRUE(status["disruptedPods"].contains("p0"));
  EXPECT_EQ(evict("p1").code(), Code::kTooManyRequests);
  EXPECT_TRUE(evict("p0").ok()) << "it already ends";
}

TEST_F(EvictTest, RacingEvictionsDoNotShareAnAllowance) {
  allow(2);
  const auto other = g.another();
  std::vector<Result<Answer>> answers;
  for (int i = 0; i < 4; ++i) {
    const std::string name = "p" + std::to_string(i);
    (i % 2 == 0 ? *g.api : *other)
        .handle(g.admin,
                {.verb = bus::Verb::Create,
                 .resource = "pods",
                 .subresource = "eviction",
                 .ns = "default",
                 .name = name,
                 .json = Json{{"metadata", {{"name", name}}}}.dump()},
                [&](Result<Answer> answer) { answers.push_back(std::move(answer)); });
  }
  g.loop.run_until([&] { return answers.size() == 4; }, std::chrono::seconds(30));
  EXPECT_EQ(std::count_if(answers.begin(), answers.end(), [](const auto& a) { return a.ok(); }), 2);
}

}  // namespace
}  // namespace gantry::apigw::testing
