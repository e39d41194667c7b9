#include "services/apigw/rules/tables.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "services/apigw/rules/by_type.h"
#include "services/apigw/rules/kinds.h"
#include "services/apigw/rules/rules.h"

namespace gantry::apigw {
namespace {

model::Object object(const char* resource, const char* text) {
  const auto& kind = *model::Schema::get().by_resource(resource);
  auto bytes = model::from_json(kind, text);
  EXPECT_TRUE(bytes.ok()) << (bytes.ok() ? "" : bytes.error().message);
  return model::Object(kind, *bytes);
}

nlohmann::json defaulted(const char* resource, const char* text) {
  const auto given = object(resource, text);
  model::Draft draft(given);
  set_defaults(draft, given);
  return model::to_tree(draft.build());
}

std::vector<std::string> problems(const char* resource, const char* text) {
  Problems found;
  validate(object(resource, text), found);
  std::vector<std::string> out;
  for (const auto& cause : found.causes()) out.push_back(cause.field + ": " + cause.message);
  return out;
}

TEST(Tables, DefaultsAreSetWhereNothingIsSaid) {
  const auto set = defaulted("statefulsets", R"({"metadata":{"name":"a"},"spec":{"replicas":3,"serviceName":"a"}})");
  EXPECT_EQ(set["spec"]["replicas"], 3);
  EXPECT_EQ(set["spec"]["podManagementPolicy"], "OrderedReady");
  EXPECT_EQ(set["spec"]["persistentVolumeClaimRetentionPolicy"]["whenScaled"], "Retain");
  const auto claim =
      defaulted("persistentvolumeclaims", R"({"metadata":{"name":"a"},"spec":{"accessModes":["ReadWriteOnce"]}})");
  EXPECT_EQ(claim["spec"]["volumeMode"], "Filesystem");
  const auto policy =
      defaulted("networkpolicies", R"({"spec":{"podSelector":{},"ingress":[{"ports":[{"port":80}]}]}})");
  EXPECT_EQ(policy["spec"]["ingress"][0]["ports"][0]["protocol"], "TCP");
}

TEST(Tables, EveryPathIsOfItsKind) {
  EXPECT_EQ(unknown_paths(), std::vector<std::string>());
  EXPECT_EQ(unknown_types(), std::vector<std::string>());
  EXPECT_EQ(unknown_counts(), std::vector<std::string>());
}

TEST(Tables, AllThatIsWrongIsSaidAtOnce) {
  const auto found = problems(
      "cronjobs", R"({"metadata":{"name":"a","namespace":"x"},"spec":{"schedule":"61 * * * *","concurrencyPolicy":"No",
    "startingDeadlineSeconds":-1,"jobTemplate":{"spec":{"template":{"spec":{"restartPolicy":"Never","containers":[]}}}}}})");
  const auto has = [&](const std::string& start) {
    return std::any_of(found.begin(), found.end(), [&](const auto& line) { return line.starts_with(start); });
  };
  EXPECT_TRUE(has("spec.schedule: Invalid value"));
  EXPECT_TRUE(has("spec.concurrencyPolicy: Unsupported value: \"No\""));
  EXPECT_TRUE(has("spec.startingDeadlineSeconds: Invalid value: -1"));
  EXPECT_TRUE(has("spec.jobTemplate.spec.template.spec.containers"));
}

TEST(Tables, SchedulesAndRanges) {
  for (const char* good : {"*/5 * * * *", "0 0 1,15 jan-mar mon", "@daily", "@every 1h", "0 22 * * 1-5"})
    EXPECT_EQ(check_schedule(good), "") << good;
  for (const char* bad : {"", "* * * *", "60 * * * *", "*/0 * * * *", "@often", "TZ=UTC * * * * *", "5-1 * * * *"})
    EXPECT_NE(check_schedule(bad), "") << bad;
  EXPECT_EQ(check_cidr("10.0.0.0/8"), "");
  EXPECT_EQ(check_cidr("fd00::/64"), "");
  for (const char* bad : {"10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/ 8"}) EXPECT_NE(check_cidr(bad), "") << bad;
}

TEST(Tables, WhatMayNotChange) {
  Problems found;
  validate_update(object("rolebindings", R"({"metadata":{"name":"a"},"roleRef":{"kind":"Role","name":"b"}})"),
                  object("rolebindings", R"({"metadata":{"name":"a"},"roleRef":{"kind":"Role","name":"a"}})"), "",
                  found);
  ASSERT_EQ(found.causes().size(), 1u);
  EXPECT_EQ(found.causes()[0].field, "roleRef");
}

}  // namespace
}  // namespace gantry::apigw
