#include "tools/load/phases.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "libs/model/object.h"

namespace gantry::load {
namespace {

using testing::HasSubstr;

constexpr int64_t kStart = 1'000'000'000;

void pass(Phases& phases, const std::string& resource, const std::string& uid, bool created, int64_t millis,
          const std::string& json) {
  const auto* kind = model::Schema::get().by_resource(resource);
  auto object = model::from_json(*kind, json);
  ASSERT_TRUE(object.ok()) << object.error().message;
  flatbuffers::FlatBufferBuilder b;
  const auto r = b.CreateString(resource), u = b.CreateString(uid);
  const auto o = b.CreateVector(reinterpret_cast<const uint8_t*>(object->data()), object->size());
  bus::EventBuilder event(b);
  event.add_resource(r);
  event.add_uid(u);
  event.add_object(o);
  event.add_created(created);
  event.add_time(kStart + millis * 1'000);
  b.Finish(event.Finish());
  phases.on_event(*flatbuffers::GetRoot<bus::Event>(b.GetBufferPointer()));
}

std::string owned(const std::string& uid, const std::string& rest) {
  return R"({"metadata":{"name":"x","ownerReferences":[{"apiVersion":"apps/v1","kind":"K","name":"k","uid":")" + uid +
         R"(","controller":true}]})" + rest + "}";
}

TEST(Phases, FollowsAPodFromItsDeploymentOn) {
  Phases phases;
  pass(phases, "deployments", "d", true, 0, "{}");
  pass(phases, "replicasets", "r", true, 5, owned("d", ""));
  pass(phases, "pods", "p", true, 15, owned("r", ""));
  const std::string bound = R"(,"spec":{"containers":[],"nodeName":"n1"})";
  pass(phases, "pods", "p", false, 45, owned("r", bound));
  pass(phases, "pods", "p", false, 145, owned("r", bound + R"(,"status":{"phase":"Running"})"));
  pass(phases, "pods", "p", false, 190, owned("r", bound + R"(,"status":{"phase":"Running"})"));  // once counted
  EXPECT_EQ(phases.created(), 1U);
  EXPECT_EQ(phases.bound(), 1U);
  EXPECT_EQ(phases.running(), 1U);
  const auto report = phases.report();
  EXPECT_THAT(report, HasSubstr("| Deployment -> ReplicaSet | 1 | 5.0 |"));
  EXPECT_THAT(report, HasSubstr("| ReplicaSet -> pod created | 1 | 10.0 |"));
  EXPECT_THAT(report, HasSubstr("| pod created -> bound | 1 | 30.0 |"));
  EXPECT_THAT(report, HasSubstr("| bound -> Running | 1 | 100.0 |"));
  EXPECT_THAT(report, HasSubstr("| Deployment -> pod Running | 1 | 145.0 |"));
}

TEST(Phases, IgnoresAPodThatIsOlderThanTheListener) {
  Phases phases;
  pass(phases, "pods", "p", false, 0, R"({"spec":{"containers":[],"nodeName":"n1"},"status":{"phase":"Running"}})");
  EXPECT_EQ(phases.created() + phases.bound() + phases.running(), 0U);
}

}  // namespace
}  // namespace gantry::load
