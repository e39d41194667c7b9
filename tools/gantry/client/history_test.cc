#include "tools/gantry/client/history.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "tools/gantry/client/past.h"
#include "tools/gantry/client/why.h"

namespace gantry::client {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

/// Histories as they would be read.
struct Story {
  std::map<std::string, History> of;
  static const model::Kind& kind(const char* resource) { return *model::Schema::get().by_resource(resource); }

  Step& add(const char* resource, const char* name, uint64_t revision, const char* identity, const char* verb,
            const char* because, const char* spec = "{}") {
    Step step{.kind = &kind(resource), .ns = "default", .name = name, .uid = name};
    step.revision = revision;
    step.time = static_cast<WallMicros>(++clock_) * 1'000'000;
    step.identity = identity, step.verb = verb, step.because = because;
    auto& steps = of[std::string(resource) + "/" + name].steps;
    step.created = steps.empty();
    const json tree = {{"metadata", {{"name", name}, {"namespace", "default"}}}, {"spec", json::parse(spec)}};
    step.object = model::Object(*step.kind, *model::from_tree(*step.kind, tree), revision);
    steps.push_back(std::move(step));
    return steps.back();
  }
  ReadHistory reader() {
    return [this](const model::Kind& k, const std::string&, const std::string& name) -> Result<History> {
      return of[k.resource + "/" + name];
    };
  }
  static std::vector<std::string> words(const Chain& chain) {
    std::vector<std::string> out;
    for (const auto& link : chain.links) {
      if (link.skipped > 0) out.push_back(std::to_string(link.skipped) + " skipped");
      out.push_back(fmt::format("{}@{}", link.step.name, link.step.revision));
    }
    return out;
  }
  int clock_ = 0;
};

TEST(Why, LeadsFromTheUsersCommandToTheObjectAsItIs) {
  Story s;
  s.add("deployments", "web", 7, "kubernetes-admin", "create", "", R"({"replicas":2})");
  s.add("deployments", "web", 8, "kubernetes-admin", "patch", "", R"({"replicas":3})");
  s.add("replicasets", "web-1", 4, "system:gantry:controllers", "create", "deployments/default/web@7");
  s.add("replicasets", "web-1", 5, "system:gantry:controllers", "patch", "deployments/default/web@8").command_id =
      "controllers-deployment/1/n/2";
  s.add("pods", "web-1-a", 20, "system:gantry:controllers", "create", "replicasets/default/web-1@5");
  s.add("pods", "web-1-a", 21, "system:gantry:scheduler", "bind", "pods/default/web-1-a@20", R"({"nodeName":"n1"})");
  s.add("pods", "web-1-a", 22, "system:node:n1", "update", "pods/default/web-1-a@21", R"({"nodeName":"n1"})");
  auto chain = find_chain(s.reader(), Story::kind("pods"), "default", "web-1-a");
  ASSERT_TRUE(chain.ok());
  EXPECT_EQ(chain->open, "");
  EXPECT_THAT(Story::words(*chain), ElementsAre("web@8", "web-1@5", "web-1-a@20", "web-1-a@21", "web-1-a@22"));
  const auto printed = print_chain(*chain);
  EXPECT_THAT(printed, HasSubstr("spec.replicas: 2 -> 3"));
  EXPECT_THAT(printed, HasSubstr("system:gantry:controllers (deployment)"));
  EXPECT_THAT(printed, HasSubstr("spec.nodeName: (none) -> n1"));
}

TEST(Why, CirclesOfARolloutAreFolded) {
  Story s;
  s.add("deployments", "web", 1, "admin", "patch", "");
  s.add("replicasets", "rs", 1, "c", "create", "deployments/default/web@1");
  s.add("pods", "a", 1, "c", "create", "replicasets/default/rs@1");
  s.add("pods", "a", 2, "n", "update", "pods/default/a@1");
  s.add("replicasets", "rs", 2, "c", "patch", "pods/default/a@2");
  s.add("pods", "b", 3, "c", "create", "replicasets/default/rs@2");
  s.add("pods", "b", 4, "n", "update", "pods/default/b@3");
  auto chain = find_chain(s.reader(), Story::kind("pods"), "default", "b");
  ASSERT_TRUE(chain.ok());
  EXPECT_EQ(chain->links.size(), 7u);
  fold(*chain);
  EXPECT_THAT(Story::words(*chain), ElementsAre("web@1", "rs@1", "2 skipped", "rs@2", "b@3", "b@4"));
}

TEST(Why, SaysWhereTheWayIsLost) {
  Story s;
  s.add("pods", "a", 9, "c", "create", "replicasets/default/gone@3");
  auto chain = find_chain(s.reader(), Story::kind("pods"), "default", "a");
  ASSERT_TRUE(chain.ok());
  EXPECT_THAT(print_chain(*chain), HasSubstr("replicasets/default/gone@3, which is before the history begins"));
  s.add("jobs", "j", 2, "c", "create", "cronjob:default/tick");
  EXPECT_THAT(find_chain(s.reader(), Story::kind("jobs"), "default", "j")->open, HasSubstr("cronjob:default/tick"));
  s.add("pods", "self", 5, "c", "create", "pods/default/self@5");
  EXPECT_THAT(find_chain(s.reader(), Story::kind("pods"), "default", "self")->open, HasSubstr("names itself"));
  EXPECT_EQ(find_chain(s.reader(), Story::kind("pods"), "default", "none").code(), Code::kNotFound);
}

TEST(Why, References) {
  EXPECT_EQ(parse_reference("nodes/n1@4")->name, "n1");
  EXPECT_EQ(parse_reference("pods/ns/p@4")->ns, "ns");
  for (const char* words : {"", "x", "flurbs/a/b@1", "pods/a/b", "pods/a/b@x", "pods@3/a"})
    EXPECT_FALSE(parse_reference(words)) << words;
}

TEST(WhatChanged, NamesFieldsAndItems) {
  const auto changed = [](const char* a, const char* b) { return what_changed(json::parse(a), json::parse(b)); };
  EXPECT_THAT(changed(R"({"spec":{"replicas":1,"x":[1]},"metadata":{"generation":1}})",
                      R"({"spec":{"replicas":2,"x":[1,2]},"metadata":{"generation":2}})"),
              ElementsAre("spec.replicas: 1 -> 2", "spec.x: [1] -> [1,2]"));
  EXPECT_THAT(changed(R"({"c":[{"type":"Ready","status":"False","lastTransitionTime":"a"},{"type":"X"}]})",
                      R"({"c":[{"type":"X"},{"type":"Ready","status":"True","lastTransitionTime":"b"}]})"),
              ElementsAre("c[Ready].status: False -> True"));
  EXPECT_THAT(changed("{}", R"({"status":{"phase":"Running"}})"), ElementsAre("status.phase: (none) -> Running"));
}

TEST(Moments, ComeInTwoForms) {
  const WallMicros now = 1'767'323'045'000'000;  // 2026-01-02T03:04:05Z
  EXPECT_EQ(*parse_moment("1h30m", now), now - 5'400'000'000);
  EXPECT_EQ(*parse_moment("500ms", now), now - 500'000);
  EXPECT_EQ(*parse_moment("2026-01-02T03:04:00Z", now), now - 5'000'000);
  EXPECT_EQ(clock(now), "2026-01-02 03:04:05.000");
  for (const char* bad : {"", "5", "m", "5x", "yesterday", "99999999999s", "2026-01-02T", "2026-01-02T03:04:06Z"})
    EXPECT_EQ(parse_moment(bad, now).code(), Code::kBadRequest) << bad;
}

TEST(Past, IsWhatTheEventsLeave) {
  Story s;
  s.add("configmaps", "old", 1, "a", "create", "");                   // at 1 s
  s.add("configmaps", "old", 2, "a", "update", "");                   // at 2 s
  s.add("configmaps", "late", 3, "a", "create", "");                  // at 3 s
  s.add("configmaps", "lost", 4, "a", "update", "").created = false;  // at 4 s
  s.add("configmaps", "old", 5, "a", "delete", "").deleted = true;    // at 5 s
  History all;
  for (const auto& [key, history] : s.of) all.steps.insert(all.steps.end(), history.steps.begin(), history.steps.end());
  std::sort(all.steps.begin(), all.steps.end(), [](const Step& a, const Step& b) { return a.revision < b.revision; });
  const auto& kind = Story::kind("configmaps");
  const json quiet = {{"metadata", {{"name", "quiet"}, {"namespace", "default"}}}};
  const std::vector<model::Object> now{{kind, *model::from_tree(kind, quiet), 1}};
  const auto at = [&](double seconds) {
    const auto state = state_at(all, now, static_cast<WallMicros>(seconds * 1e6));
    std::string out = std::to_string(state.unknown);
    for (const auto& o : state.objects) out += fmt::format(" {}@{}", o.name(), o.revision());
    return out;
  };
  EXPECT_EQ(at(0.5), "1 quiet@1");
  EXPECT_EQ(at(1), "1 old@1 quiet@1");
  EXPECT_EQ(at(3.5), "1 late@3 old@2 quiet@1");
  EXPECT_EQ(at(6), "0 late@3 lost@4 quiet@1");
}

}  // namespace
}  // namespace gantry::client
