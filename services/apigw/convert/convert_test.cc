#include "services/apigw/convert/convert.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "libs/model/served.h"
#include "libs/model/testing/random_object.h"

namespace gantry::apigw {
namespace {

using model::Schema;

TEST(Convert, NothingIsLostThereAndBack) {
  std::mt19937_64 random(5);
  for (const auto& kind : Schema::get().kinds()) {
    const auto* storage = model::served(kind).storage;
    if (storage == nullptr || storage == &kind) continue;
    for (int i = 0; i < 20; ++i) {
      const auto tree = model::testing::random_object(*storage, random, {.presence = i < 2 ? 1.0 : 0.5});
      const model::Object object(*storage, *model::from_tree(*storage, tree), 7);
      const auto seen = convert(object, kind);
      EXPECT_EQ(&seen.kind(), &kind);
      EXPECT_EQ(seen.revision(), 7u);
      EXPECT_EQ(model::to_tree(convert(seen, *storage).at(0)), tree) << model::to_json(seen);
    }
  }
}

TEST(Convert, AnAutoscalerOfCpuIsPlainInV1) {
  const auto& v2 = *Schema::get().by_api_version("autoscaling/v2", "HorizontalPodAutoscaler");
  const auto& v1 = *Schema::get().by_api_version("autoscaling/v1", "HorizontalPodAutoscaler");
  const model::Object object(
      v1, *model::from_json(
              v1, R"({"metadata":{"name":"a"},"spec":{"maxReplicas":3,"targetCPUUtilizationPercentage":50}})"));
  const auto stored = model::to_tree(convert(object, v2));
  EXPECT_EQ(
      stored["spec"]["metrics"],
      nlohmann::json::parse(
          R"([{"type":"Resource","resource":{"name":"cpu","target":{"type":"Utilization","averageUtilization":50}}}])"));
  EXPECT_EQ(model::to_tree(convert(convert(object, v2), v1)), model::to_tree(object));
}

TEST(Convert, SelectorsSpeakOfWhatIsStored) {
  const auto* view = view_of("events.v1.events.k8s.io");
  ASSERT_NE(view, nullptr);
  EXPECT_EQ(stored_selector(*view, "regarding.name=web,type!=Normal,reportingController=x"),
            "involvedObject.name=web,type!=Normal,reportingComponent=x");
  EXPECT_EQ(view_of("events"), nullptr);
  EXPECT_EQ(view_of("tokenreviews"), nullptr);
}

}  // namespace
}  // namespace gantry::apigw
