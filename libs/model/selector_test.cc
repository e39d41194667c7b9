#include "libs/model/selector.h"

#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "libs/model/testing/random_object.h"
#include "libs/model/walk.h"
#include "schemas/api/apps_v1_generated.h"
#include "schemas/api/core_v1_generated.h"

namespace gantry::model {
namespace {

const Kind& kind(const char* resource) { return *Schema::get().by_resource(resource); }
Object decode(const char* resource, std::string_view json) {
  return Object(kind(resource), *from_json(kind(resource), json));
}

bool selects(std::string_view selector, std::string_view labels) {
  auto parsed = LabelSelector::parse(selector);
  EXPECT_TRUE(parsed.ok()) << selector << ": " << parsed.error().message;
  Object pod = decode("pods", "{\"metadata\":{\"labels\":" + std::string(labels) + "}}");
  return parsed.ok() && parsed->matches(pod.meta()->labels());
}

TEST(LabelSelector, Matches) {
  const char* web = R"({"app":"web","tier":"front","n":"5","e":""})";
  for (const char* s :
       {"", " ", "app=web", "app==web", "app = web , tier", "tier!=db", "app in (web,db)", "app notin (db)", "!gone",
        "gone!=x", "gone notin (a,b)", "n>4", "n<6", "e=", "e in ()", "app in ( web )", "app in (,web)"}) {
    EXPECT_TRUE(selects(s, web)) << s;
  }
  for (const char* s : {"app=db", "app!=web", "app in (a,b)", "app notin (web)", "!app", "gone", "gone=x", "n>5", "n<5",
                        "app>1", "gone in ()"}) {
    EXPECT_FALSE(selects(s, web)) << s;
  }
  EXPECT_TRUE(selects("!a", "null"));
}

TEST(LabelSelector, RefusesNonsense) {
  for (const char* s : {"a b", "=x", "a=b c", "a in b", "a in (b", "a,", ",a", "!", "!a=b", "a in (b))", "-a=b", "a=-b",
                        "a>x", "a=b=c", "(", "a ! b"}) {
    auto parsed = LabelSelector::parse(s);
    EXPECT_FALSE(parsed.ok()) << s;
    if (!parsed.ok()) {
      EXPECT_EQ(parsed.error().code, Code::kBadRequest);
      EXPECT_TRUE(parsed.error().message.starts_with("unable to parse requirement: ")) << parsed.error().message;
    }
  }
}

TEST(LabelSelector, PrintsWhatItParses) {
  for (const char* s : {"a=b", "a!=b", "a in (b,c)", "a notin (b,c)", "a", "!a", "a>1", "a<1", "a=b,c", "a="}) {
    EXPECT_EQ(LabelSelector::parse(s)->to_string(), s);
  }
}

TEST(LabelSelector, FromObjects) {
  Object d = decode(
      "deployments",
      R"({"spec":{"selector":{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"t","operator":"In","values":["x","y"]},
    {"key":"g","operator":"DoesNotExist"}]}}})");
  auto selector = LabelSelector::from(d.as<api::apps_v1::Deployment>()->spec()->selector());
  ASSERT_TRUE(selector.ok());
  EXPECT_EQ(selector->to_string(), "a=b,t in (x,y),!g");
  EXPECT_FALSE(LabelSelector::from(nullptr)->matches(nullptr));
  EXPECT_FALSE(LabelSelector::from(nullptr)->everything());
  Object empty = decode("deployments", R"({"spec":{"selector":{}}})");
  EXPECT_TRUE(LabelSelector::from(empty.as<api::apps_v1::Deployment>()->spec()->selector())->everything());
  Object wrong = decode("deployments", R"({"spec":{"selector":{"matchExpressions":[{"key":"t","operator":"Is"}]}}})");
  EXPECT_FALSE(LabelSelector::from(wrong.as<api::apps_v1::Deployment>()->spec()->selector()).ok());
  EXPECT_FALSE(LabelSelector::from_map(nullptr).matches(nullptr));
  Object service = decode("services", R"({"spec":{"selector":{"a":"b"}}})");
  auto map = LabelSelector::from_map(service.as<api::core_v1::Service>()->spec()->selector());
  EXPECT_TRUE(map.matches(decode("pods", R"({"metadata":{"labels":{"a":"b","c":"d"}}})").meta()->labels()));
  EXPECT_FALSE(map.matches(nullptr));
}

TEST(FieldSelector, Matches) {
  Object pod = decode("pods", testing::kPodJson);
  auto matches = [&](std::string_view s) {
    auto parsed = FieldSelector::parse(kind("pods"), s);
    EXPECT_TRUE(parsed.ok()) << s;
    return parsed.ok() && parsed->matches(pod);
  };
  EXPECT_TRUE(matches(""));
  EXPECT_TRUE(matches("metadata.name=web-7d4b9c6f5-x2x9z,metadata.namespace==default"));
  EXPECT_TRUE(matches("status.phase!=Failed,status.phase!=Succeeded"));
  EXPECT_TRUE(matches("spec.nodeName="));
  EXPECT_TRUE(matches("spec.hostNetwork=false"));
  EXPECT_FALSE(matches("status.phase=Failed"));
  auto parsed = FieldSelector::parse(kind("pods"), "spec.nodeName=n\\,1,status.phase!=Failed");
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(*parsed->required("spec.nodeName"), "n,1");
  EXPECT_EQ(parsed->required("status.phase"), nullptr);
  EXPECT_EQ(FieldSelector::parse(kind("pods"), "spec.foo=1").error().message, "field label not supported: spec.foo");
  for (const char* bad : {"a", "metadata.name", "metadata.name!x", "metadata.name=a\\", "metadata.name=a\\b"}) {
    EXPECT_FALSE(FieldSelector::parse(kind("pods"), bad).ok()) << bad;
  }
}

TEST(FieldSelector, ValuesOfEveryType) {
  EXPECT_EQ(field_value(decode("nodes", R"({"spec":{"unschedulable":true}})"), "spec.unschedulable"), "true");
  EXPECT_EQ(field_value(decode("nodes", "{}"), "spec.unschedulable"), "false");
  EXPECT_EQ(field_value(decode("replicasets", "{}"), "status.replicas"), "0");
  EXPECT_EQ(field_value(decode("replicasets", R"({"status":{"replicas":3}})"), "status.replicas"), "3");
  EXPECT_EQ(field_value(decode("events", R"({"source":{"component":"kubelet"}})"), "source"), "kubelet");
  EXPECT_EQ(field_value(decode("events", R"({"reportingComponent":"x"})"), "source"), "x");
  for (const auto& k : Schema::get().kinds()) {
    for (const auto& field : k.select) EXPECT_TRUE(find(*k.type, nullptr, field).known()) << k.kind << " " << field;
  }
}

TEST(Walk, FindsValues) {
  Object pod = decode("pods", testing::kPodJson);
  EXPECT_EQ(text_at(pod, ".metadata.labels['app']"), "web");
  EXPECT_EQ(text_at(pod, "metadata.labels[pod-template-hash]"), "7d4b9c6f5");
  EXPECT_EQ(text_at(pod, "metadata.labels[none]"), "");
  EXPECT_EQ(text_at(pod, "spec.containers[0].image"), "registry.local/demo/web:1.4.2");
  EXPECT_EQ(text_at(pod, "spec.containers[0].args[1]"), "--verbose");
  EXPECT_EQ(text_at(pod, "spec.containers[0].args[2]"), "");
  EXPECT_EQ(text_at(pod, "spec.containers[1].image"), "");
  EXPECT_EQ(text_at(pod, "spec.containers[0].args"), R"(["--listen=:8080","--verbose"])");
  EXPECT_EQ(text_at(pod, "spec.containers[0].readinessProbe.httpGet.port"), "http");
  EXPECT_EQ(text_at(pod, "spec.containers[0].resources.limits.cpu"), "");  // not a path: maps take brackets
  EXPECT_EQ(text_at(pod, "spec.containers[0].resources.limits"), R"({"cpu":"500m","memory":"256Mi"})");
  EXPECT_EQ(text_at(pod, "metadata.creationTimestamp"), "2025-06-01T10:11:12Z");
  EXPECT_EQ(text_at(pod, "spec.affinity.nodeAffinity"), "");
  EXPECT_NE(find(pod, "status.conditions[0]").table(), nullptr);
  for (const char* unknown : {"", "foo", "spec.foo", "spec.nodeName.x", "spec[0]", "spec.containers[x].name",
                              "spec.containers.name", "spec..x", "a[", "metadata.labels['a"}) {
    EXPECT_FALSE(find(pod, unknown).known()) << unknown;
  }
}

TEST(Walk, ColumnsNameRealPaths) {
  for (const auto& k : Schema::get().kinds()) {
    for (const auto& column : k.columns) {
      if (column.source.starts_with("@")) continue;
      EXPECT_TRUE(find(*k.type, nullptr, column.source).known()) << k.kind << column.source;
    }
  }
}

}  // namespace
}  // namespace gantry::model
