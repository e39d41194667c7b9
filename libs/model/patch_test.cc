#include "libs/model/patch.h"

#include <gtest/gtest.h>

namespace gantry::model {
namespace {

using nlohmann::json;

const Type& type_of(const char* resource) { return *Schema::get().by_resource(resource)->type; }

json strategic(const char* resource, std::string_view target, std::string_view patch) {
  auto out = strategic_merge_patch(json::parse(target), json::parse(patch), type_of(resource));
  EXPECT_TRUE(out.ok()) << out.error().message;
  return out.ok() ? *out : json();
}

#define EXPECT_JSON(actual, expected) EXPECT_EQ(actual, json::parse(expected))

TEST(MergePatch, FollowsTheRfc) {
  EXPECT_JSON(*merge_patch(json::parse(R"({"a":{"b":1,"c":2},"d":[1]})"),
                           json::parse(R"({"a":{"b":null,"e":{"f":null}},"d":[2]})")),
              R"({"a":{"c":2,"e":{}},"d":[2]})");
  json deep;
  for (int i = 0; i < 200; ++i) deep = json{{"a", deep}};
  EXPECT_FALSE(merge_patch(json::object(), deep).ok());
}

TEST(JsonPatch, FollowsTheRfc) {
  EXPECT_JSON(
      *json_patch(
          json::parse(R"({"a":[1,2],"b":"x"})"),
          json::parse(
              R"([{"op":"test","path":"/b","value":"x"},{"op":"add","path":"/a/-","value":3},{"op":"remove","path":"/b"},
                                          {"op":"copy","from":"/a","path":"/c"},{"op":"replace","path":"/a/0","value":9}])")),
      R"({"a":[9,2,3],"c":[1,2,3]})");
  auto fails = [](std::string_view patch) { return json_patch(json::parse(R"({"a":1})"), json::parse(patch)).code(); };
  EXPECT_EQ(fails(R"([{"op":"test","path":"/a","value":2}])"), Code::kInvalid);
  EXPECT_EQ(fails(R"([{"op":"remove","path":"/x"}])"), Code::kInvalid);
  EXPECT_EQ(fails(R"([{"op":"add","path":"/a/b","value":1}])"), Code::kInvalid);
  EXPECT_EQ(fails(R"([{"op":"copy","from":"/a","path":"/a/b"}])"), Code::kInvalid);
  EXPECT_EQ(fails(R"([{"op":"remove","path":"/a/b"}])"), Code::kInvalid);
  EXPECT_EQ(fails(R"([{"op":"move","from":"/a","path":"/a/b"}])"), Code::kInvalid);
  EXPECT_EQ(fails(R"([{"op":"move","from":"/a"}])"), Code::kBadRequest);
  EXPECT_EQ(fails(R"([{"op":"move","from":"/a","path":1}])"), Code::kBadRequest);
  EXPECT_EQ(fails(R"([{"op":"nonsense","path":"/x"}])"), Code::kBadRequest);
  EXPECT_EQ(fails(R"([1])"), Code::kBadRequest);
  EXPECT_EQ(fails(R"({})"), Code::kBadRequest);
}

TEST(JsonPatch, WhatMovesIsGoneBeforeItArrives) {
  const auto move = [](const char* target, const char* from, const char* path) {
    return json_patch(json::parse(target), json::array({{{"op", "move"}, {"from", from}, {"path", path}}}));
  };
  EXPECT_JSON(*move(R"({"a":{"b":1},"c":[2]})", "/a/b", "/c/0"), R"({"a":{},"c":[1,2]})");
  EXPECT_JSON(*move("[1,2,3]", "/0", "/2"), "[2,3,1]");
  // The object is at 0 when it is added to, and was at 1 before.
  EXPECT_JSON(*move(R"([1,{}])", "/0", "/0/x"), R"([{"x":1}])");
  EXPECT_EQ(move(R"([{},5])", "/0", "/0/x").code(), Code::kInvalid);
}

TEST(JsonPatch, CannotGrowWithoutBound) {
  json patch = json::array();
  for (int i = 0; i < 60; ++i) patch.push_back({{"op", "copy"}, {"from", "/a"}, {"path", "/a/" + std::to_string(i)}});
  EXPECT_EQ(json_patch(json::parse(R"({"a":{"x":[1,2,3]}})"), patch).code(), Code::kTooLarge);
}

TEST(StrategicPatch, MergesMapsAndDeletesByNull) {
  EXPECT_JSON(strategic("deployments", R"({"metadata":{"labels":{"a":"1","b":"2"}},"spec":{"replicas":1}})",
                        R"({"metadata":{"labels":{"a":null,"c":"3"}},"spec":{"replicas":2,"paused":null}})"),
              R"({"metadata":{"labels":{"b":"2","c":"3"}},"spec":{"replicas":2}})");
}

TEST(StrategicPatch, MergesListsByKey) {
  auto target = R"({"spec":{"containers":[{"name":"a","image":"a:1","args":["x"]},{"name":"b","image":"b:1"}]}})";
  EXPECT_JSON(
      strategic("pods", target, R"({"spec":{"containers":[{"name":"b","image":"b:2"},{"name":"c"}]}})"),
      R"({"spec":{"containers":[{"name":"a","image":"a:1","args":["x"]},{"name":"b","image":"b:2"},{"name":"c"}]}})");
  EXPECT_JSON(strategic("pods", target, R"({"spec":{"containers":[{"name":"a","$patch":"delete"}]}})"),
              R"({"spec":{"containers":[{"name":"b","image":"b:1"}]}})");
  EXPECT_JSON(strategic("pods", target, R"({"spec":{"containers":[{"$patch":"replace"},{"name":"z"}]}})"),
              R"({"spec":{"containers":[{"name":"z"}]}})");
  // Atomic lists are replaced.
  EXPECT_JSON(strategic("pods", target, R"({"spec":{"containers":[{"name":"a","args":["y"]}]}})"),
              R"({"spec":{"containers":[{"name":"a","image":"a:1","args":["y"]},{"name":"b","image":"b:1"}]}})");
  EXPECT_EQ(strategic_merge_patch(json::parse(target), json::parse(R"({"spec":{"containers":[{"image":"x"}]}})"),
                                  type_of("pods"))
                .code(),
            Code::kBadRequest);
}

TEST(StrategicPatch, SetsElementOrder) {
  auto target = R"({"spec":{"containers":[{"name":"a"},{"name":"b"},{"name":"sidecar"}]}})";
  EXPECT_JSON(strategic("pods", target, R"({"spec":{"$setElementOrder/containers":[{"name":"b"},{"name":"a"}]}})"),
              R"({"spec":{"containers":[{"name":"b"},{"name":"a"},{"name":"sidecar"}]}})");
  EXPECT_JSON(
      strategic(
          "pods", target,
          R"({"spec":{"$setElementOrder/containers":[{"name":"n"},{"name":"a"},{"name":"b"}],"containers":[{"name":"n","image":"i"}]}})"),
      R"({"spec":{"containers":[{"name":"n","image":"i"},{"name":"a"},{"name":"b"},{"name":"sidecar"}]}})");
  EXPECT_JSON(
      strategic(
          "pods", target,
          R"({"spec":{"$setElementOrder/containers":[{"name":"b"}],"containers":[{"name":"a","$patch":"delete"}]}})"),
      R"({"spec":{"containers":[{"name":"b"},{"name":"sidecar"}]}})");
  EXPECT_JSON(
      strategic("pods", "{}", R"({"metadata":{"$setElementOrder/finalizers":["a","x","b"],"finalizers":["a","b"]}})"),
      R"({"metadata":{"finalizers":["a","b"]}})");
  // An order that the patch itself does not keep, or that leaves out what it sets.
  for (const char* wrong :
       {R"({"metadata":{"$setElementOrder/finalizers":["b","a"],"finalizers":["a","b"]}})",
        R"({"spec":{"$setElementOrder/containers":[{"name":"a"}],"containers":[{"name":"n","image":"i"}]}})"}) {
    const auto refused =
        strategic_merge_patch(json::parse(R"({"metadata":{"finalizers":["a"]},"spec":{"containers":[{"name":"a"}]}})"),
                              json::parse(wrong), type_of("pods"));
    ASSERT_EQ(refused.code(), Code::kBadRequest) << wrong;
    EXPECT_EQ(refused.error().message.substr(0, 24), "The order in patch list:");
  }
}

TEST(StrategicPatch, PrimitiveListsAreSets) {
  auto target = R"({"metadata":{"finalizers":["a","b","c"]}})";
  EXPECT_JSON(strategic("pods", target, R"({"metadata":{"finalizers":["b","d"]}})"),
              R"({"metadata":{"finalizers":["a","b","d","c"]}})");
  EXPECT_JSON(
      strategic(
          "pods", target,
          R"({"metadata":{"$deleteFromPrimitiveList/finalizers":["a","x"],"$setElementOrder/finalizers":["c","b"]}})"),
      R"({"metadata":{"finalizers":["c","b"]}})");
}

TEST(StrategicPatch, RetainsKeys) {
  EXPECT_JSON(
      strategic("deployments", R"({"spec":{"strategy":{"type":"RollingUpdate","rollingUpdate":{"maxSurge":1}}}})",
                R"({"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}})"),
      R"({"spec":{"strategy":{"type":"Recreate"}}})");
  EXPECT_JSON(
      strategic("pods", R"({"spec":{"volumes":[{"name":"v","emptyDir":{}}]}})",
                R"({"spec":{"volumes":[{"name":"v","$retainKeys":["name","hostPath"],"hostPath":{"path":"/x"}}]}})"),
      R"({"spec":{"volumes":[{"name":"v","hostPath":{"path":"/x"}}]}})");
  EXPECT_EQ(
      strategic_merge_patch(json::object(), json::parse(R"({"spec":{"strategy":{"$retainKeys":["a"],"type":"b"}}})"),
                            type_of("deployments"))
          .ok(),
      true);
}

TEST(StrategicPatch, ReplacesAndDeletesMaps) {
  EXPECT_JSON(strategic("services", R"({"spec":{"selector":{"a":"1","b":"2"},"type":"X"}})",
                        R"({"spec":{"selector":{"$patch":"replace","c":"3"}}})"),
              R"({"spec":{"selector":{"c":"3"},"type":"X"}})");
  EXPECT_JSON(
      strategic("services", R"({"spec":{"selector":{"a":"1"}}})", R"({"spec":{"selector":{"$patch":"delete"}}})"),
      R"({"spec":{"selector":{}}})");
  EXPECT_EQ(strategic_merge_patch(json::parse(R"({"spec":{"selector":{}}})"),
                                  json::parse(R"({"spec":{"selector":{"$patch":"x"}}})"), type_of("services"))
                .code(),
            Code::kInvalid);
}

TEST(StrategicPatch, WhatRolloutRestartAndScaleSend) {
  EXPECT_JSON(
      strategic(
          "deployments", R"({"spec":{"template":{"metadata":{"labels":{"a":"b"}}}}})",
          R"({"spec":{"template":{"metadata":{"annotations":{"kubectl.kubernetes.io/restartedAt":"2025-01-01T00:00:00Z"}}}}})"),
      R"({"spec":{"template":{"metadata":{"labels":{"a":"b"},"annotations":{"kubectl.kubernetes.io/restartedAt":"2025-01-01T00:00:00Z"}}}}})");
  EXPECT_JSON(
      strategic(
          "services", R"({"spec":{"ports":[{"port":80,"targetPort":8080},{"port":443}]}})",
          R"({"spec":{"$setElementOrder/ports":[{"port":81}],"ports":[{"port":81,"targetPort":8080},{"$patch":"delete","port":80}]}})"),
      R"({"spec":{"ports":[{"port":81,"targetPort":8080},{"port":443}]}})");
}

}  // namespace
}  // namespace gantry::model
