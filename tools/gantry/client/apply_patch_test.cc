#include "tools/gantry/client/apply_patch.h"

#include <gtest/gtest.h>

namespace gantry::client {
namespace {

using nlohmann::json;

json patch(const char* last, const char* wanted, const char* live) {
  const auto* kind = model::Schema::get().by_api_version("apps/v1", "Deployment");
  return three_way_patch(json::parse(last), json::parse(wanted), json::parse(live), kind->type);
}

TEST(ThreeWayPatch, NothingToDo) {
  EXPECT_EQ(patch(R"({"spec":{"replicas":2}})", R"({"spec":{"replicas":2}})",
                  R"({"spec":{"replicas":2,"paused":false},"status":{"replicas":1}})"),
            json::object());
}

TEST(ThreeWayPatch, ChangesAndRemovalsButNotWhatOthersSet) {
  EXPECT_EQ(patch(R"({"metadata":{"labels":{"a":"1","b":"2"}}})", R"({"metadata":{"labels":{"a":"3"}}})",
                  R"({"metadata":{"labels":{"a":"1","b":"2","theirs":"x"}}})"),
            json::parse(R"({"metadata":{"labels":{"a":"3","b":null}}})"));
}

TEST(ThreeWayPatch, WhatIsGoneAlreadyIsNotRemovedAgain) {
  EXPECT_EQ(patch(R"({"spec":{"paused":true}})", R"({"spec":{}})", R"({"spec":{}})"), json::object());
}

TEST(ThreeWayPatch, ContainersAreKnownByName) {
  EXPECT_EQ(
      patch(
          R"({"spec":{"template":{"spec":{"containers":[{"name":"old","image":"o"},{"name":"web","image":"a:1"}]}}}})",
          R"({"spec":{"template":{"spec":{"containers":[{"name":"web","image":"a:2"},{"name":"new","image":"n"}]}}}})",
          R"({"spec":{"template":{"spec":{"containers":[{"name":"old","image":"o"},{"name":"web","image":"a:1","tty":true},{"name":"injected","image":"i"}]}}}})"),
      json::parse(R"({"spec":{"template":{"spec":{"containers":[{"name":"web","image":"a:2"},{"name":"new","image":"n"},
                            {"$patch":"delete","name":"old"}]}}}})"));
}

TEST(ThreeWayPatch, ListsWithoutAKeyAreReplaced) {
  EXPECT_EQ(patch(R"({})", R"({"spec":{"template":{"spec":{"containers":[{"name":"web","args":["a","c"]}]}}}})",
                  R"({"spec":{"template":{"spec":{"containers":[{"name":"web","args":["a","b"]}]}}}})"),
            json::parse(R"({"spec":{"template":{"spec":{"containers":[{"name":"web","args":["a","c"]}]}}}})"));
}

TEST(ThreeWayPatch, SetsOfScalars) {
  EXPECT_EQ(patch(R"({"metadata":{"finalizers":["mine","both"]}})", R"({"metadata":{"finalizers":["both","new"]}})",
                  R"({"metadata":{"finalizers":["mine","both","theirs"]}})"),
            json::parse(R"({"metadata":{"finalizers":["new"],"$deleteFromPrimitiveList/finalizers":["mine"]}})"));
}

}  // namespace
}  // namespace gantry::client
