#include "libs/model/schema.h"

#include <gtest/gtest.h>

namespace gantry::model {
namespace {

const Type& pod_spec() { return *Schema::get().type("gantry.api.core_v1.PodSpec"); }

TEST(Schema, FindsKindsInEveryWay) {
  const auto& schema = Schema::get();
  const Kind* pods = schema.by_resource("pods");
  ASSERT_NE(pods, nullptr);
  EXPECT_EQ(pods->kind, "Pod");
  EXPECT_TRUE(pods->namespaced);
  EXPECT_EQ(pods->api_version(), "v1");
  EXPECT_EQ(schema.by_kind("", "v1", "Pod"), pods);
  EXPECT_EQ(schema.by_api_version("v1", "Pod"), pods);
  const Kind* deployments = schema.by_api_version("apps/v1", "Deployment");
  ASSERT_NE(deployments, nullptr);
  EXPECT_EQ(deployments->api_version(), "apps/v1");
  EXPECT_TRUE(deployments->has_subresource("scale"));
  EXPECT_FALSE(deployments->has_subresource("log"));
  EXPECT_EQ(schema.by_api_version("apps/v1", "Pod"), nullptr);
  EXPECT_EQ(schema.by_resource("scales"), nullptr);
  EXPECT_NE(schema.by_api_version("autoscaling/v1", "Scale"), nullptr);
  EXPECT_FALSE(schema.by_resource("nodes")->namespaced);
}

TEST(Schema, ReadsColumns) {
  const auto& columns = Schema::get().by_resource("pods")->columns;
  ASSERT_GE(columns.size(), 7u);
  EXPECT_EQ(columns[0].name, "Name");
  EXPECT_EQ(columns[0].source, ".metadata.name");
  EXPECT_FALSE(columns[0].wide);
  EXPECT_EQ(columns[6].name, "Node");
  EXPECT_TRUE(columns[6].wide);
}

TEST(Schema, FieldsKnowTheirNamesAndNumbers) {
  const Field* f = pod_spec().by_json("hostPID");
  ASSERT_NE(f, nullptr);
  EXPECT_EQ(f->name, "host_pid");
  EXPECT_EQ(pod_spec().by_name("host_pid"), f);
  EXPECT_EQ(f->proto, std::vector<uint32_t>{12});
  EXPECT_EQ(pod_spec().by_json("hostPid"), nullptr);
  EXPECT_EQ(pod_spec().by_json(""), nullptr);
  const Field* volumes = pod_spec().by_json("volumes");
  EXPECT_TRUE(volumes->list);
  EXPECT_TRUE(volumes->patch_merge);
  EXPECT_TRUE(volumes->patch_retain_keys);
  EXPECT_EQ(volumes->patch_key, "name");
  const Field* config_map = volumes->type->by_json("configMap");
  EXPECT_EQ(config_map->proto, (std::vector<uint32_t>{2, 19}));
  EXPECT_EQ(volumes->type->wire.at(2)->inlined->at(19)->field, config_map);
  const Field* ports = pod_spec().by_json("containers")->type->by_json("ports");
  EXPECT_EQ(ports->list_keys, (std::vector<std::string>{"containerPort", "protocol"}));
}

TEST(Schema, FormatsAndMaps) {
  const Field* selector = pod_spec().by_json("nodeSelector");
  EXPECT_TRUE(selector->map);
  EXPECT_EQ(selector->type->name, "StringEntry");
  EXPECT_EQ(pod_spec().by_json("overhead")->format, Format::kQuantity);
  const Type& secret = *Schema::get().by_resource("secrets")->type;
  EXPECT_EQ(secret.by_json("data")->type->fields[1].scalar, Scalar::kBytes);
  EXPECT_TRUE(secret.by_json("immutable")->nullable);
}

TEST(Schema, EveryFieldIsFoundByItsName) {
  for (const auto& kind : Schema::get().kinds()) {
    for (const auto& f : kind.type->fields) {
      EXPECT_EQ(kind.type->by_json(f.json), &f) << kind.kind << "." << f.json;
      EXPECT_EQ(kind.type->by_name(f.name), &f);
    }
  }
}

}  // namespace
}  // namespace gantry::model
