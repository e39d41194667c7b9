// Patches and applied configurations that no good client sends.
#include "services/apigw/rest/testing/hostile_fixture.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

TEST_F(HostileTest, JsonPatches) {
  const std::string type = "application/json-patch+json";
  for (const char* body : {"",
                           "{}",
                           "null",
                           "1",
                           "[1]",
                           "[null]",
                           "[[]]",
                           "[{}]",
                           R"([{"op":"add"}])",
                           R"([{"op":"fly","path":"/a"}])",
                           R"([{"op":1,"path":"/data"}])",
                           R"([{"op":"add","path":1,"value":1}])",
                           R"([{"op":"add","path":"data","value":1}])",
                           R"([{"op":"add","path":"/data/~2","value":"x"}])",
                           R"([{"op":"add","path":"/data"}])",
                           R"([{"op":"test","path":"/data/k","value":"z"}])",
                           R"([{"op":"remove","path":"/nosuch"}])",
                           R"([{"op":"remove","path":""}])",
                           R"([{"op":"replace","path":"","value":7}])",
                           R"([{"op":"replace","path":"","value":null}])",
                           R"([{"op":"add","path":"/metadata/finalizers/99999999999999999999","value":"x"}])",
                           R"([{"op":"add","path":"/metadata/labels/-","value":{}}])",
                           R"([{"op":"move","from":"/metadata","path":"/metadata/labels/x"}])",
                           R"([{"op":"copy","from":"/nosuch","path":"/data/a"}])",
                           R"([{"op":"copy","from":"","path":"/data/a"}])",
                           R"([{"op":"replace","path":"/metadata/name","value":"other"}])",
                           R"([{"op":"replace","path":"/metadata/uid","value":"other"}])",
                           R"([{"op":"replace","path":"/kind","value":"Secret"}])",
                           R"([{"op":"replace","path":"/metadata","value":[]}])",
                           R"([{"op":"replace","path":"/data/k","value":{"a":1}}])",
                           R"([{"op":"remove","path":"/metadata/name"}])"}) {
    patch_refused(0, type, body);
  }
  patch_refused(413, type,
                "[" + repeated(R"({"op":"test","path":"/data/k","value":"v"},)", 10'000) +
                    R"({"op":"test","path":"/data/k","value":"v"}])");
  std::string doubling = "[";
  for (int i = 0; i < 60; ++i)
    doubling += fmt::format(R"({}{{"op":"copy","from":"/data","path":"/data/x{}"}})", i == 0 ? "" : ",", i);
  patch_refused(413, type, doubling + "]");
  patch_refused(0, type, R"([{"op":"add","path":")" + repeated("/a", 100'000) + R"(","value":1}])");
  patch_refused(0, type, R"([{"op":"add","path":"/data/x","value":)" + kDeepObjects + "}]");
  patch_refused(0, type, kDeep);
}

TEST_F(HostileTest, MergePatches) {
  for (const char* type : {"application/merge-patch+json", "application/strategic-merge-patch+json"}) {
    for (const char* body : {"",
                             "[]",
                             "null",
                             "1",
                             "\"x\"",
                             "{",
                             R"({"metadata":null})",
                             R"({"metadata":[]})",
                             R"({"metadata":7})",
                             R"({"data":{"k":1}})",
                             R"({"data":"x"})",
                             R"({"kind":"Secret"})",
                             R"({"apiVersion":"v2"})",
                             R"({"metadata":{"name":"other"}})",
                             R"({"metadata":{"namespace":"other"}})",
                             R"({"metadata":{"uid":"other"}})",
                             R"({"metadata":{"resourceVersion":"x"}})",
                             R"({"metadata":{"resourceVersion":"1"}})",
                             R"({"metadata":{"finalizers":"x"}})",
                             R"({"metadata":{"ownerReferences":[{}]}})",
                             R"({"metadata":{"labels":{"a b":"c"}}})",
                             R"({"metadata":{"managedFields":[{"manager":7}]}})"}) {
      patch_refused(0, type, body);
    }
    patch_refused(0, type, kDeepObjects);
    patch_refused(0, type, R"({"data":)" + kDeepObjects + "}");
  }
  const char* type = "application/strategic-merge-patch+json";
  const std::string deployment = std::string(kDeployments) + "/here";
  for (const char* containers : {"7", "{}", "[7]", "[{}]", R"([{"image":"x"}])", R"([{"name":7}])", R"([{"name":{}}])",
                                 R"([{"name":"c","$patch":"explode"}])", R"([{"$patch":7}])", R"([{"$patch":"merge"}])",
                                 R"([{"name":"c","env":[{"value":"x"}]}])"}) {
    patch_refused(0, type, R"({"spec":{"template":{"spec":{"containers":)" + std::string(containers) + "}}}}",
                  deployment.c_str());
  }
  for (const char* body :
       {R"({"$patch":"explode"})", R"({"$patch":"delete"})", R"({"spec":{"$patch":"delete"}})", R"({"$patch":7})",
        R"({"spec":{"template":{"spec":{"$setElementOrder/containers":"x"}}}})",
        R"({"spec":{"strategy":{"$retainKeys":"x"}}})",
        R"({"spec":{"strategy":{"$retainKeys":["nosuch"],"type":"Recreate"}}})",
        R"({"metadata":{"$deleteFromPrimitiveList/finalizers":"x"}})",
        R"({"spec":{"selector":{"matchLabels":{"a":"c"}}}})", R"({"spec":{"replicas":-1}})", R"({"spec":null})"}) {
    patch_refused(0, type, body, deployment.c_str());
  }
}

TEST_F(HostileTest, AppliedConfigurations) {
  const char* type = "application/apply-patch+yaml";
  for (const char* body :
       {"", "x", "[]", "{}", "null", "kind: ConfigMap", "apiVersion: v1", R"({"apiVersion":"v1","kind":"Secret"})",
        R"({"apiVersion":"v2","kind":"ConfigMap"})", R"({"apiVersion":7,"kind":{}})",
        R"({"apiVersion":"v1","kind":"ConfigMap","metadata":[]})",
        R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"other"}})",
        R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"managedFields":[{"manager":"x"}]}})",
        R"({"apiVersion":"v1","kind":"ConfigMap","nosuch":1})", R"({"apiVersion":"v1","kind":"ConfigMap","data":[]})",
        R"({"apiVersion":"v1","kind":"ConfigMap","data":{"k":{}}})",
        R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"here","uid":"other"}})"}) {
    patch_refused(0, type, body);
  }
  patch_refused(0, type, kDeepObjects);
  refused({0, "PATCH", kMap, R"({"apiVersion":"v1","kind":"ConfigMap"})", type});  // by whom?
  const std::string deployment = std::string(kDeployments) + "/here";
  patch_refused(
      0, type,
      R"({"apiVersion":"apps/v1","kind":"Deployment","spec":{"template":{"spec":{"containers":[{"name":"c"},{"name":"c"}]}}}})",
      deployment.c_str());
  patch_refused(
      0, type,
      R"({"apiVersion":"apps/v1","kind":"Deployment","spec":{"template":{"spec":{"containers":[{"image":"c"}]}}}})",
      deployment.c_str());
}

}  // namespace
}  // namespace gantry::apigw
