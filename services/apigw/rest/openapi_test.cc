#include "services/apigw/rest/openapi.h"

#include <gtest/gtest.h>

#include "libs/model/served.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

json document(const std::string& path) {
  const auto* found = openapi_document(path, "application/json");
  EXPECT_NE(found, nullptr) << path;
  return found ? json::parse(found->body) : json();
}

/// Every $ref below `tree` leads somewhere.
void check_references(const json& tree, const json& schemas, const std::string& prefix) {
  if (tree.is_object() && tree.contains("$ref") && tree["$ref"].is_string()) {
    const std::string ref = tree["$ref"];
    ASSERT_TRUE(ref.starts_with(prefix)) << ref;
    EXPECT_TRUE(schemas.contains(ref.substr(prefix.size()))) << ref;
  }
  if (!tree.is_structured()) return;
  for (const auto& child : tree) check_references(child, schemas, prefix);
}

TEST(OpenApi, EveryKindIsExplainedInTheDocumentOfItsGroup) {
  const auto index = document("/openapi/v3");
  for (const auto& kind : model::Schema::get().kinds()) {
    if (kind.resource.empty()) continue;
    const std::string key = (kind.group.empty() ? "api/" : "apis/" + kind.group + "/") + kind.version;
    ASSERT_TRUE(index["paths"].contains(key)) << key;
    const std::string url = index["paths"][key]["serverRelativeURL"];
    EXPECT_EQ(url.substr(0, url.find('?')), "/openapi/v3/" + key);
    const auto group = document("/openapi/v3/" + key);
    const auto& schemas = group["components"]["schemas"];
    check_references(group, schemas, "#/components/schemas/");
    const auto& schema = schemas[openapi::name_of(*kind.type)];
    EXPECT_EQ(schema["x-kubernetes-group-version-kind"][0],
              (json{{"group", kind.group}, {"version", kind.version}, {"kind", kind.kind}}));
    for (const auto& field : kind.type->fields)
      EXPECT_TRUE(schema["properties"].contains(field.json)) << kind.kind << field.json;
    EXPECT_TRUE(schema.contains("description")) << kind.kind;
  }
}

TEST(OpenApi, FieldsSayHowTheyArePatched) {
  const auto core = document("/openapi/v3/api/v1");
  const auto& spec = core["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"];
  const auto& containers = spec["properties"]["containers"];
  EXPECT_EQ(containers["x-kubernetes-patch-merge-key"], "name");
  EXPECT_EQ(containers["x-kubernetes-patch-strategy"], "merge");
  EXPECT_EQ(containers["x-kubernetes-list-type"], "map");
  EXPECT_EQ(containers["items"]["$ref"], "#/components/schemas/io.k8s.api.core.v1.Container");
  EXPECT_EQ(spec["required"], json::array({"containers"}));
  EXPECT_EQ(spec["properties"]["volumes"]["x-kubernetes-patch-strategy"], "merge,retainKeys");
}

TEST(OpenApi, FieldsSayWhatTheyMayBeAndWhatTheyAreByDefault) {
  const auto core = document("/openapi/v3/api/v1");
  const auto& schemas = core["components"]["schemas"];
  const auto& pull = schemas["io.k8s.api.core.v1.Container"]["properties"]["imagePullPolicy"];
  EXPECT_EQ(pull["enum"], json::array({"Always", "IfNotPresent", "Never"}));
  const auto& modes = schemas["io.k8s.api.core.v1.PersistentVolumeClaimSpec"]["properties"]["accessModes"];
  EXPECT_EQ(modes["items"]["enum"].size(), 4u);
  EXPECT_FALSE(modes.contains("enum"));
  EXPECT_EQ(schemas["io.k8s.api.core.v1.Probe"]["properties"]["periodSeconds"]["default"], 10);
  EXPECT_EQ(schemas["io.k8s.api.core.v1.ServicePort"]["properties"]["protocol"]["default"], "TCP");
  const auto storage = document("/openapi/v3/apis/storage.k8s.io/v1");
  EXPECT_EQ(storage["components"]["schemas"]["io.k8s.api.storage.v1.CSIDriverSpec"]["properties"]["attachRequired"]
                   ["default"],
            true);
}

TEST(OpenApi, FieldsAreDescribed) {
  const auto schemas = document("/openapi/v3/api/v1")["components"]["schemas"];
  for (const char* type : {"PodSpec", "Container", "Probe", "ServiceSpec", "NodeStatus", "PersistentVolumeClaimSpec"}) {
    for (const auto& [name, field] : schemas[std::string("io.k8s.api.core.v1.") + type]["properties"].items())
      EXPECT_FALSE(field.value("description", "").empty()) << type << "." << name;
  }
}

TEST(OpenApi, TheSecondVersionIsWhole) {
  const auto v2 = document("/openapi/v2");
  EXPECT_EQ(v2["swagger"], "2.0");
  check_references(v2, v2["definitions"], "#/definitions/");
  const char* type = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
  const auto* message = openapi_document("/openapi/v2", type);
  ASSERT_NE(message, nullptr);
  EXPECT_EQ(message->content_type, "application/com.github.proto-openapi.spec.v2.v1.0+protobuf");
  EXPECT_TRUE(
      message->body.starts_with("\x0a\x03"
                                "2.0"))
      << "Document.swagger comes first";
  EXPECT_EQ(openapi_document("/openapi/v3/apis/none/v1", ""), nullptr);
}

}  // namespace
}  // namespace gantry::apigw
