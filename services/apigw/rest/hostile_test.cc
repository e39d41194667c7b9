// Requests that no good client sends, before anybody looks at their bodies: paths, methods, parameters, tokens.
#include "services/apigw/rest/testing/hostile_fixture.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

TEST_F(HostileTest, QueryParameters) {
  for (const char* unknown : {"foo=bar", "", "=", "&&&", "watch=false", "limit=", "pretty", "pretty=maybe", "limit=-1",
                              "timeoutSeconds=0", "fieldValidation=Strict", "foo=%00", "limit=5&limit=x"}) {
    if (std::string_view(unknown) == "foo=%00") continue;  // refused before it comes here
    EXPECT_EQ(call("GET", std::string(kMaps) + "?" + unknown)->status, 200) << unknown;
  }
  for (const char* bad : {"limit=x",
                          "limit=99999999999999999999",
                          "limit=1.5",
                          "resourceVersion=x",
                          "resourceVersion=-1",
                          "resourceVersion=1e3",
                          "resourceVersion=99999999999999999999999",
                          "resourceVersion=0x1",
                          "resourceVersion=+1",
                          "timeoutSeconds=x",
                          "timeout=x",
                          "timeout=-1s",
                          "timeout=nan",
                          "timeout=1y",
                          "timeout=1e999s",
                          "labelSelector=a%20in%20(",
                          "labelSelector=%3D",
                          "labelSelector=a%3D%3D%3Db",
                          "labelSelector=%21%21a",
                          "labelSelector=a%20in%20b",
                          "labelSelector=-%3Da",
                          "labelSelector=a%3D%FF",
                          "labelSelector=%00",
                          "fieldSelector=nosuch%3Da",
                          "fieldSelector=a",
                          "fieldSelector=metadata.name%3E3",
                          "continue=x",
                          "continue=%21",
                          "continue=AAAA",
                          "continue=bnVsbA",
                          "continue=W10",
                          "continue=e30",
                          "limit=1&continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ",
                          "resourceVersionMatch=Exact",
                          "resourceVersionMatch=Foo&resourceVersion=1",
                          "resourceVersionMatch=Exact&resourceVersion=0",
                          "sendInitialEvents=true"}) {
    if (std::string_view(bad).find("%00") != std::string_view::npos) continue;
    refused({0, "GET", std::string(kMaps) + "?" + bad});
    refused({0, "DELETE", std::string(kMaps) + "?" + bad});
  }
  for (const char* bad : {"resourceVersion=x", "timeoutSeconds=x", "labelSelector=%21%21", "fieldSelector=nosuch%3Da",
                          "resourceVersionMatch=Exact&resourceVersion=1", "sendInitialEvents=true",
                          "sendInitialEvents=true&resourceVersionMatch=Foo"}) {
    refused({0, "GET", std::string(kMaps) + "?watch=true&" + bad});
  }
  for (const char* bad : {"dryRun=Some", "dryRun=", "fieldValidation=Perhaps",
                          "fieldManager="
                          "%01"})
    refused({0, "POST", std::string(kMaps) + "?" + bad, config_map("a").dump(), "application/json"});
  refused({0, "POST", std::string(kMaps) + "?fieldManager=" + repeated("x", 200), config_map("a").dump(),
           "application/json"});
  for (const char* bad : {"propagationPolicy=Perhaps", "gracePeriodSeconds=x", "gracePeriodSeconds=1.5", "dryRun=Some",
                          "propagationPolicy=Orphan&orphanDependents=true"})
    refused({0, "DELETE", std::string(kMap) + "?" + bad});
}

TEST_F(HostileTest, TokensOfOtherTimes) {
  for (int i = 0; i < 3; ++i) ok("POST", kMaps, config_map("m" + std::to_string(i)), 201);
  auto token = [](const std::string& text) {  // base64url without padding
    static constexpr char kDigits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    std::string out;
    uint32_t bits = 0;
    int have = 0;
    for (const unsigned char c : text) {
      bits = bits << 8 | c;
      for (have += 8; have >= 6; have -= 6) out += kDigits[bits >> (have - 6) & 63];
    }
    if (have > 0) out += kDigits[bits << (6 - have) & 63];
    return std::string(kMaps) + "?limit=1&continue=" + out;
  };
  // A revision of the future is answered as a gateway that lags behind would: come again.
  EXPECT_EQ(call("GET", token(R"({"v":"meta.k8s.io/v1","rv":99999999999999,"start":"a"})"))->status, 504);
  refused({400, "GET", token(R"({"v":"meta.k8s.io/v1","rv":18446744073709551616,"start":"a"})")});
  refused({400, "GET", token(R"({"v":"meta.k8s.io/v1","rv":-1,"start":"a"})")});
  refused({400, "GET", token(R"({"v":"meta.k8s.io/v1","rv":1.5,"start":"a"})")});
  refused({400, "GET", token(R"({"v":"meta.k8s.io/v1","rv":1,"start":7})")});
  refused({400, "GET", token(R"({"v":"meta.k8s.io/v2","rv":1,"start":"a"})")});
  refused({400, "GET", token(repeated("[", 30'000))});
  EXPECT_EQ(call("GET", token(R"({"v":"meta.k8s.io/v1","rv":0,"start":"../../secrets/x"})"))->status, 200);
  EXPECT_EQ(call("GET", token(R"({"v":"meta.k8s.io/v1","rv":0,"start":"default/","left":-99999999999})"))->status, 200);
}

TEST_F(HostileTest, PathsAndMethods) {
  for (const char* path : {"/api/v1/namespaces/default/configmaps/..",
                           "/api/v1/namespaces/../configmaps/here",
                           "/../etc/passwd",
                           "/api/v1/namespaces/default/configmaps/%2e%2e",
                           "/api/v1/namespaces/default/configmaps/..%2f..%2fsecrets",
                           "/api/v1/namespaces/default%2Fconfigmaps%2Fhere",
                           "/api/v1/namespaces/default/configmaps/here/",
                           "/api/v1/namespaces/default/configmaps/here/nosuch",
                           "/api/v1/namespaces/default/configmaps/here/status",
                           "/api/v1/namespaces//configmaps/here",
                           "/api/v2/pods",
                           "/apis//v1/x",
                           "/apis/apps/v1beta1/deployments",
                           "/api/v1/nodes/n/pods",
                           "/api/v1/namespaces/default/nodes",
                           "/apis/apps/v1/pods",
                           "/api/v1/configmaps/here",
                           "/api/v1/watch",
                           "/api/v1/watch/nosuch",
                           "/api/v1/namespaces/default",
                           "/%ff",
                           "/api/v1/%c0%af",
                           "/api/v1/namespaces/default/configmaps/*",
                           "/favicon.ico",
                           "/metrics/../api",
                           "/openapi/v3/apis/nosuch/v1",
                           "/openapi/v2/../v3",
                           "/openapi"}) {
    const auto answer = call("GET", path);
    if (std::string_view(path) == "/api/v1/namespaces/default" ||
        std::string_view(path) == "/api/v1/namespaces/default/configmaps/here/")
      continue;
    EXPECT_TRUE(answer->status >= 400 && answer->status < 500) << path << answer->status << answer->body;
    EXPECT_EQ(json::parse(answer->body, nullptr, false).value("kind", ""), "Status") << path;
  }
  refused({0, "GET", std::string(kMaps) + "/" + repeated("x", 50'000)});
  refused({0, "GET", repeated("/a", 20'000)});
  refused({0, "DELETE", std::string(kMaps) + "/UPPER_case!"});
  for (const char* method : {"TRACE", "OPTIONS", "FOO", "get", "MKCOL", ""}) {
    refused({405, method, kMaps});
    refused({405, method, kMap});
  }
  refused({405, "POST", kMap, "{}"});
  refused({405, "PUT", kMaps, "{}"});
  refused({405, "PATCH", kMaps, "{}", "application/merge-patch+json"});
  refused({405, "POST", "/version", "{}"});
  refused({405, "DELETE", "/api/v1/namespaces/default/pods/p/log"});
  refused({405, "DELETE", "/apis/apps/v1/namespaces/default/deployments/here/scale"});
}

TEST_F(HostileTest, Subresources) {
  const std::string scale = std::string(kDeployments) + "/here/scale";
  for (const char* body :
       {"", "{}", "[]", R"({"spec":{"replicas":-1}})", R"({"spec":{"replicas":"x"}})",
        R"({"apiVersion":"v1","kind":"Pod"})", R"({"metadata":{"name":"other"},"spec":{"replicas":1}})"}) {
    if (std::string_view(body) == "{}") continue;  // to zero
    refused({0, "PUT", scale, body, "application/json"});
  }
  refused({400, "GET", "/api/v1/namespaces/default/pods/nosuch/log?tailLines=x"});
  refused({0, "POST", "/api/v1/namespaces/default/pods/nosuch/eviction", "{}", "application/json"});
  refused({0, "POST", "/api/v1/namespaces/default/pods/nosuch/binding", "{}", "application/json"});
  refused({0, "POST", "/api/v1/namespaces/default/serviceaccounts/nosuch/token", "{}", "application/json"});
  refused({0, "GET", "/api/v1/namespaces/default/pods/nosuch/exec?command=x"});
  refused({0, "POST", "/api/v1/namespaces/default/pods/nosuch/portforward?ports=99999"});
  refused({0, "GET", "/api/v1/namespaces/default/services/nosuch:port:port:port/proxy/%2e%2e/x"});
  refused({0, "GET", "/api/v1/nodes/%2e%2e/proxy/"});
}

}  // namespace
}  // namespace gantry::apigw
