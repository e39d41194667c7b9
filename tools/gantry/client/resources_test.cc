#include "tools/gantry/client/resources.h"

#include <gtest/gtest.h>

namespace gantry::client {
namespace {

std::string names(const std::vector<std::string>& arguments) {
  auto targets = parse_targets(arguments);
  if (!targets) return targets.error().message;
  std::string out;
  for (const auto& target : *targets)
    out +=
        (out.empty() ? "" : " ") + (target.name.empty() ? target.kind->resource : qualified(*target.kind, target.name));
  return out;
}

TEST(Resources, AreFoundByEveryNameTheyHave) {
  for (const char* word :
       {"deployments", "deployment", "deploy", "Deployment", "deployments.apps", "deployments.v1.apps"}) {
    EXPECT_EQ(names({word}), "deployments") << word;
  }
  EXPECT_EQ(names({"flurb"}), "the server doesn't have a resource type \"flurb\"");
  EXPECT_EQ(names({"deployments.batch"}), "the server doesn't have a resource type \"deployments.batch\"");
}

TEST(Resources, ArgumentsInEveryForm) {
  EXPECT_EQ(names({"pods,svc"}), "pods services");
  EXPECT_EQ(names({"pod", "a", "b"}), "pod/a pod/b");
  EXPECT_EQ(names({"pod/a", "deploy/b"}), "pod/a deployment.apps/b");
  EXPECT_NE(names({"pod/a", "b"}).find("no need to specify a resource type"), std::string::npos);
}

TEST(Resources, OneThatIsNamed) {
  EXPECT_EQ(parse_target({"deploy/a"})->name, "a");
  EXPECT_EQ(parse_target({"deploy"}).error().message, "name one object: KIND/NAME");
  EXPECT_EQ(parse_target({"pod", "a", "b"}).code(), Code::kBadRequest);
  EXPECT_EQ(*parse_pod({"a"}), "a");
  EXPECT_EQ(*parse_pod({"po/a"}), "a");
  for (const auto& wrong : std::vector<std::vector<std::string>>{{}, {""}, {"a", "b"}, {"deploy/a"}, {"pod/"}}) {
    EXPECT_EQ(parse_pod(wrong).code(), Code::kBadRequest);
  }
}

}  // namespace
}  // namespace gantry::client
