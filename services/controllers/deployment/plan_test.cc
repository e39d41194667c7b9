#include "services/controllers/deployment/plan.h"

#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "libs/model/schema.h"

namespace gantry::controllers {
namespace {

Member member(size_t index, int32_t replicas, int32_t available = -1, int32_t max = -1) {
  Member m;
  m.index = index;
  m.name = fmt::format("rs{}", index);
  m.created = static_cast<int64_t>(index);
  m.replicas = replicas;
  m.available = available < 0 ? replicas : available;
  m.max_annotation = max;
  return m;
}

std::map<size_t, int32_t> sizes(const std::vector<Scale>& scales) {
  std::map<size_t, int32_t> map;
  for (const Scale& s : scales) map[s.index] = s.replicas;
  return map;
}

Rollout resolved(std::string_view spec) {
  static const model::Type& type = *model::Schema::get().type("gantry.api.apps_v1.DeploymentSpec");
  auto bytes = model::from_json(type, spec);
  EXPECT_TRUE(bytes.ok());
  return resolve(*flatbuffers::GetRoot<api::apps_v1::DeploymentSpec>(bytes->data()));
}

TEST(Plan, ResolvesSurgeUpAndUnavailableDown) {
  struct Case {
    int replicas;
    const char *surge, *unavailable;
    int want_surge, want_unavailable;
  };
  for (const Case& c :
       {Case{10, "\"25%\"", "\"25%\"", 3, 2}, Case{1, "\"25%\"", "\"25%\"", 1, 0}, Case{10, "0", "\"1%\"", 0, 1},
        Case{3, "0", "0", 0, 1}, Case{3, "5", "10", 5, 3}, Case{4, "\"100%\"", "\"50%\"", 4, 2}}) {
    Rollout r = resolved(fmt::format(
        R"({{"replicas":{},"strategy":{{"type":"RollingUpdate","rollingUpdate":{{"maxSurge":{},"maxUnavailable":{}}}}}}})",
        c.replicas, c.surge, c.unavailable));
    EXPECT_EQ(r.max_surge, c.want_surge) << c.replicas << c.surge;
    EXPECT_EQ(r.max_unavailable, c.want_unavailable) << c.replicas << c.unavailable;
  }
  Rollout absent = resolved(R"({"replicas":8})");
  EXPECT_EQ(absent.max_surge, 2);
  EXPECT_EQ(absent.max_unavailable, 2);
  EXPECT_FALSE(resolved(R"({"strategy":{"type":"Recreate"}})").rolling);
}

TEST(Plan, TheNewOneGrowsUpToTheSurge) {
  Rollout r{10, 3, 2, true};
  EXPECT_EQ(new_size(r, member(1, 0), {member(0, 10)}), 3);
  EXPECT_EQ(new_size(r, member(1, 3), {member(0, 10)}), 3);
  EXPECT_EQ(new_size(r, member(1, 3), {member(0, 8)}), 5);
  EXPECT_EQ(new_size(r, member(1, 9), {member(0, 0)}), 10);
  EXPECT_EQ(new_size(r, member(1, 12), {}), 10);
  EXPECT_EQ(new_size(Rollout{10, 0, 0, false}, member(1, 0), {}), 10);
}

TEST(Plan, TheOldOnesShrinkWithinAvailability) {
  Rollout r{10, 3, 2, true};
  EXPECT_EQ(sizes(shrink_old(r, member(1, 0, 0), {member(0, 10)})), (std::map<size_t, int32_t>{{0, 8}}));
  EXPECT_TRUE(shrink_old(r, member(1, 3, 0), {member(0, 8)}).empty());  // at the bound until the new ones are available
  EXPECT_EQ(sizes(shrink_old(r, member(1, 3, 3), {member(0, 8)})), (std::map<size_t, int32_t>{{0, 5}}));
  // Unhealthy ones go first and cost no availability.
  EXPECT_EQ(sizes(shrink_old(r, member(2, 0, 0), {member(0, 2, 0), member(1, 8, 8)})),
            (std::map<size_t, int32_t>{{0, 0}}));
  EXPECT_TRUE(shrink_old(Rollout{3, 1, 0, true}, member(1, 1, 0), {member(0, 3)}).empty());
}

TEST(Plan, ScalingInTheMiddleOfARolloutIsProportional) {
  Rollout r{15, 3, 0, true};
  // 10 + surge 3: 8 old, 5 new; now 15 + surge 3.
  Member old = member(0, 8, 8, 13), news = member(1, 5, 0, 13);
  old.desired_annotation = news.desired_annotation = 10;
  EXPECT_EQ(sizes(rescale(r, &news, {old})), (std::map<size_t, int32_t>{{0, 11}, {1, 7}}));
  Member only = member(0, 3);
  only.desired_annotation = 3;
  EXPECT_EQ(sizes(rescale(r, &only, {})), (std::map<size_t, int32_t>{{0, 15}}));
  Rollout zero{0, 1, 0, true};
  EXPECT_EQ(sizes(rescale(zero, &news, {old})), (std::map<size_t, int32_t>{{0, 0}, {1, 0}}));
  Rollout same{10, 3, 0, true};
  Member saturated = member(1, 10, 10, 13);
  saturated.desired_annotation = 10;
  EXPECT_EQ(sizes(rescale(same, &saturated, {member(0, 3, 3, 13)})), (std::map<size_t, int32_t>{{0, 0}}));
}

}  // namespace
}  // namespace gantry::controllers
