// Requests that no good client sends: each gets a Status that says what is wrong, no answer is 5xx, and the gateway
// serves on.
#include <chrono>

#include "services/apigw/rest/body.h"
#include "services/apigw/rest/testing/rest_fixture.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";
constexpr const char* kMap = "/api/v1/namespaces/default/configmaps/here";
constexpr const char* kDeployments = "/apis/apps/v1/namespaces/default/deployments";
constexpr const char* kProtobuf = "application/vnd.kubernetes.protobuf";

std::string repeated(std::string_view text, size_t times) {
  std::string out;
  out.reserve(text.size() * times);
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

std::string with_data(const std::string& value) {
  return R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":)" + value + "}";
}

class HostileTest : public RestTest {
 protected:
  void SetUp() override {
    RestTest::SetUp();
    ok("POST", kMaps, config_map("here"), 201);
    ok("POST", kDeployments,
       {{"metadata", {{"name", "here"}}},
        {"spec",
         {{"selector", {{"matchLabels", {{"a", "b"}}}}},
          {"template",
           {{"metadata", {{"labels", {{"a", "b"}}}}},
            {"spec", {{"containers", {{{"name", "c"}, {"image", "i"}}}}}}}}}}},
       201);
  }
  void TearDown() override {
    EXPECT_EQ(ok("GET", kMap)["data"]["k"], "v");  // it serves on, and nothing has changed
  }

  struct Refused {
    int status = 0;  // 0: any that blames the client
    std::string method, target, body = "", type = "", accept = "";
  };
  json refused(const Refused& r) {
    http::Headers headers;
    if (!r.type.empty()) headers.add("Content-Type", r.type);
    if (!r.accept.empty()) headers.add("Accept", r.accept);
    const auto answer = call(r.method, r.target, r.body, std::move(headers));
    const std::string what = fmt::format("{} {} {} {}: {} {}", r.method, r.target.substr(0, 200), r.type,
                                         r.body.substr(0, 200), answer->status, answer->body.substr(0, 500));
    EXPECT_EQ(answer->status, r.status == 0 ? answer->status : r.status) << what;
    EXPECT_TRUE(answer->status >= 400 && answer->status < 500) << what;
    auto said = json::parse(answer->body, nullptr, false);
    EXPECT_TRUE(said.is_object()) << what;
    if (!said.is_object()) return said;
    EXPECT_EQ(said["kind"], "Status") << what;
    EXPECT_EQ(said["status"], "Failure") << what;
    EXPECT_EQ(said["code"], answer->status) << what;
    EXPECT_FALSE(said.value("message", "").empty()) << what;
    EXPECT_FALSE(said.value("reason", "").empty()) << what;
    EXPECT_LT(answer->body.size(), 100'000 + 8 * (r.body.size() + r.target.size())) << what;
    return said;
  }
  void create_refused(int status, const std::string& body, const std::string& type = "application/json") {
    refused({status, "POST", kMaps, body, type});
    refused({status, "PUT", kMap, body, type});
  }
  void patch_refused(int status, const std::string& type, const std::string& body, const char* target = kMap) {
    refused({status, "PATCH", fmt::format("{}?fieldManager=hostile", target), body, type});
  }
};

const std::string kDeep = repeated("[", 100'000);
const std::string kDeepObjects = repeated(R"({"a":)", 100'000) + "1" + repeated("}", 100'000);

TEST_F(HostileTest, BodiesThatAreNoJson) {
  const std::vector<std::string> bodies = {"",
                                           " ",
                                           "{",
                                           "}",
                                           "null",
                                           "[]",
                                           "1",
                                           "\"x\"",
                                           R"({"metadata":{"name":"a"})",
                                           R"({"metadata":{"name":"a",}})",
                                           "{'metadata':{}}",
                                           std::string("\0\0\0\0", 4),
                                           std::string("\xff\xfe{\0}\0", 6),
                                           R"({"a":1}{"b":2})",
                                           "{\"metadata\":{\"name\":\"a\x01\"}}",
                                           "{\"metadata\":{\"name\":\"\xff\"}}",
                                           R"({"metadata":{"name":"\ud800"}})",
                                           R"({"metadata":{"name":"\x"}})",
                                           with_data(R"({"k":1})"),
                                           with_data("[]"),
                                           with_data(R"({"k":{}})"),
                                           with_data("\"x\""),
                                           with_data("1e999"),
                                           with_data(kDeep),
                                           with_data(kDeepObjects),
                                           kDeep,
                                           kDeepObjects,
                                           repeated("{", 1'000'000),
                                           repeated("[{\"a\":", 100'000),
                                           repeated("\"", 100'001)};
  for (const auto& body : bodies) create_refused(400, body);
}

TEST_F(HostileTest, NumbersThatDoNotFit) {
  for (const std::string number : {"1e999", "-1e999", "99999999999999999999999", "2147483648", "-2147483649", "1.5",
                                   "\"1\"", "true", "[]", "{}", "0x10", "+1", "01", "NaN", "Infinity", "-"}) {
    refused({400, "POST", kDeployments, R"({"metadata":{"name":"a"},"spec":{"replicas":)" + number + "}}",
             "application/json"});
    if (number.find("214748364") == std::string::npos)
      refused({400, "DELETE", kMap, R"({"gracePeriodSeconds":)" + number + "}", "application/json"});
  }
  for (const std::string quantity : {"\"-\"", "\"1Q\"", "1e400"}) {
    refused({0, "POST", "/api/v1/namespaces/default/pods",
             R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i","resources":{"limits":{"cpu":)" +
                 quantity + "}}}]}}",
             "application/json"});
  }
}

TEST_F(HostileTest, YamlThatIsMoreThanItSeems) {
  std::string bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n";
  for (int i = 1; i < 12; ++i) {
    bomb += fmt::format("a{0}: &a{0} [", i);
    for (int j = 0; j < 10; ++j) bomb += fmt::format("{}*a{}", j == 0 ? "" : ",", i - 1);
    bomb += "]\n";
  }
  for (const std::string& body :
       {bomb, std::string("a: &a [*a, *a]"), std::string("&a {b: *a}"), repeated("[", 100'000), repeated("- ", 100'000),
        repeated("{a: ", 100'000), repeated("&a ", 10'000), std::string("a: 1\na: 2"), std::string("? [a]\n: b"),
        std::string("a: *nobody"), std::string("\t- a"), std::string("%YAML 9.9\n---\na: b"), std::string("a: \xff"),
        std::string("\0", 1), std::string("a: !!binary x\n  : y"), repeated("!", 10'000), std::string("a: 'x"),
        "metadata: {name: " + repeated("9", 1'000'000) + "}", "data: {a: " + repeated("1e", 1'000'000) + "}"}) {
    create_refused(0, body, "application/yaml");
    patch_refused(0, "application/apply-patch+yaml", body);
  }
  // What looks like a number and is none to JSON stays text.
  const auto many = json::parse(*yaml_to_json("a: " + repeated("1", 1'000'000) + "\nb: 1e999\nc: .inf"));
  EXPECT_TRUE(many["a"].is_string() && many["b"].is_string() && many["c"].is_string());
}

// Blocks that are nested by their lengths, and lengths that reach beyond the end.
TEST_F(HostileTest, ProtobufThatIsNone) {
  const std::string magic("k8s\0", 4);
  std::string nested;
  for (int i = 0; i < 20'000; ++i) {
    std::string length;
    for (size_t n = nested.size();; n >>= 7) {
      length += static_cast<char>((n & 127) | (n > 127 ? 128 : 0));
      if (n <= 127) break;
    }
    nested = "\x0a" + length + nested;
    if (nested.size() > 60'000) break;
  }
  const std::string type_meta(
      "\x0a\x0f\x0a\x02v1\x12\x09"
      "ConfigMap",
      17);
  for (const std::string& body :
       {std::string(), magic, magic.substr(0, 3), std::string("{}"), magic + "\xff", magic + repeated("\xff", 100),
        magic + "\x0a\x7f", magic + std::string("\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11),
        magic + "\x12\x05\x0a\x7f" + "abc", magic + type_meta + "\x12\x03\x0a\x05x",
        magic + type_meta + "\x12\x02\x08\x01",
        magic + type_meta + "\x12" + std::string("\x80\x80\x80\x80\x10", 5) + "x",
        magic + type_meta + std::string("\x12\x04\x12\x02\xff\xfe", 6),
        magic + std::string("\x0a\x0a\x0a\x02v1\x12\x04Node", 12)}) {
    create_refused(0, body, kProtobuf);
  }
  refused({0, "POST", kMaps, magic + type_meta + "\x12\x7f" + nested.substr(0, 127), kProtobuf});
}

TEST_F(HostileTest, MediaTypes) {
  for (const char* type : {"text/plain", "application/cbor", "application/x-www-form-urlencoded", "json", "*/*", ";",
                           "application/json-patch+json", "multipart/form-data; boundary=x", "\x01\xff",
                           "application/vnd.kubernetes.protobuf2", "application/jsonx"}) {
    create_refused(415, "{}", type);
    refused({415, "PATCH", kMap, "{}", std::string(type) == "application/json-patch+json" ? "application/json" : type});
  }
  EXPECT_EQ(call("POST", std::string(kMaps) + "?dryRun=All", config_map("a").dump(),
                 {{"Content-Type", "application/json ; charset=utf-8"}})
                ->status,
            201);
  for (const char* accept :
       {"text/html", "application/cbor", "image/*", "application/xml;q=0.9", "application/json;q=0",
        "application/json;as=Nothing;v=v1;g=meta.k8s.io", "application/json;as=Table;v=v9;g=meta.k8s.io",
        "application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", ",,,;;;===", "/", "*"}) {
    refused({406, "GET", kMaps, "", "", accept});
    refused({406, "GET", kMap, "", "", accept});
    refused({406, "GET", std::string(kMaps) + "?watch=1", "", "", accept});
  }
  EXPECT_EQ(call("GET", kMap, "", {{"Accept", repeated("a/b,", 10'000) + "*/*"}})->status, 200);
  refused(
      {400, "GET", std::string(kMaps) + "?includeObject=All", "", "", "application/json;as=Table;v=v1;g=meta.k8s.io"});
}

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

TEST_F(HostileTest, ObjectsThatAreNotWhatThePathSays) {
  for (const char* body :
       {R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"a"}})",
        R"({"apiVersion":"v2","kind":"ConfigMap","metadata":{"name":"a"}})",
        R"({"kind":"ConfigMap","metadata":{"name":"a","namespace":"other"}})", R"({"metadata":{"name":"Upper"}})",
        R"({"metadata":{"name":"a/b"}})", R"({"metadata":{"name":".."}})", R"({"metadata":{"name":"%2e"}})",
        R"({"metadata":{}})", "{}", R"({"metadata":{"name":"a","labels":{"-":"x"}}})",
        R"({"metadata":{"name":"a","annotations":{"":"x"}}})", R"({"metadata":{"name":"a"},"data":{"../x":"y"}})",
        R"({"metadata":{"name":"a"},"data":{"":"y"}})", R"({"metadata":{"name":"a"},"binaryData":{"x":"!"}})",
        R"({"metadata":{"name":"a","creationTimestamp":"yesterday"}})",
        R"({"metadata":{"name":"a","deletionGracePeriodSeconds":"x"}})",
        R"({"metadata":{"name":"a","ownerReferences":[{"uid":""}]}})"}) {
    refused({0, "POST", kMaps, body, "application/json"});
  }
  refused({0, "PUT", kMap, config_map("other").dump(), "application/json"});
  refused({422, "POST", kMaps, R"({"metadata":{"name":")" + repeated("x", 254) + R"("}})", "application/json"});
  refused({422, "POST", kMaps,
           R"({"metadata":{"name":"a","annotations":{"a":")" + repeated("x", 300 * 1024) + R"("}}})",
           "application/json"});
  refused({0, "POST", kMaps, with_data(R"({"k":")" + repeated("x", 1'100'000) + "\"}"), "application/json"});
  refused({413, "POST", kMaps, R"({"metadata":{"name":"a"},"data":{"k":")" + repeated("x", 3'000'000) + "\"}}",
           "application/json"});
  // Many small mistakes are told in a bounded answer.
  std::string labels;
  for (int i = 0; i < 50'000; ++i) labels += fmt::format(R"({}"!{}":"{}")", i == 0 ? "" : ",", i, repeated("x", 20));
  refused({0, "POST", kMaps, R"({"metadata":{"name":"a","labels":{)" + labels + "}}}", "application/json"});
  std::string unknown = "{";
  for (int i = 0; i < 50'000; ++i) unknown += fmt::format(R"("unknown{}":1,)", i);
  refused({400, "POST", std::string(kMaps) + "?fieldValidation=Strict", unknown + R"("metadata":{"name":"a"}})",
           "application/json"});
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

TEST(HostileYaml, LargeDocumentsTakeNoLongerThanTheyMust) {
  const auto took = [](const std::string& yaml) {
    const auto start = std::chrono::steady_clock::now();
    (void)yaml_to_json(yaml);
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  };
  std::string keys, flow = "[", lines;
  for (int i = 0; i < 20'000; ++i) keys += fmt::format("key{}: value{}\n", i, i);
  for (int i = 0; i < 100'000; ++i) flow += "a,";
  for (int i = 0; i < 100'000; ++i) lines += "- a\n";
  // Generous: quadratic would be minutes.
  for (const std::string& yaml :
       {keys, flow + "]", lines, "a: \"" + repeated("x", 1'000'000) + "\"", "a: " + repeated("x ", 300'000),
        repeated("a: &x b\n", 50'000), repeated("#", 1'000'000), repeated("\n", 1'000'000)})
    EXPECT_LT(took(yaml), 20) << yaml.substr(0, 20);
}

// Requests of a few hundred kilobytes that take the gateway's only thread for long keep everybody waiting.
class LargeTest : public HostileTest {
 protected:
  static std::string entries(int from, int to, const char* form) {
    std::string out;
    for (int i = from; i < to; ++i)
      out += fmt::format("{}{}", i == from ? "" : ",", fmt::format(fmt::runtime(form), i));
    return out;
  }
  static std::string deployment(const std::string& container, const std::string& more = "") {
    return R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"large")" + more +
           R"(},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i",)" +
           container + "}]}}}}";
  }
  void quick(const std::string& method, const std::string& target, const std::string& body, const std::string& type) {
    const auto start = std::chrono::steady_clock::now();
    const auto answer = call(method, target, body, {{"Content-Type", type}});
    const double took = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    EXPECT_LT(answer->status, 500);
    EXPECT_LT(took, 15) << method << " "
                        << type;  // a fraction of a second on an idle machine; quadratic would be minutes
  }
};

TEST_F(LargeTest, ListsAreMergedInLinearTime) {
  constexpr int kMany = 10'000;
  const char* form = R"({{"name":"E{}","value":"v"}})";
  const std::string env = R"("env":[)" + entries(0, kMany, form) + "]",
                    other = R"("env":[)" + entries(kMany / 2, 3 * kMany / 2, form) + "]";
  const std::string large = std::string(kDeployments) + "/large";
  quick("POST", kDeployments, deployment(env), "application/json");
  quick("PUT", large, deployment(other), "application/json");
  quick("PATCH", large, deployment(env), "application/strategic-merge-patch+json");
  quick("PATCH", large, deployment(env), "application/merge-patch+json");
  quick("PATCH", large + "?fieldManager=one&force=true", deployment(env), "application/apply-patch+yaml");
  quick("PATCH", large + "?fieldManager=two&force=true", deployment(other), "application/apply-patch+yaml");
  quick("PATCH", large + "?fieldManager=one&force=true", deployment(R"("env":[])"), "application/apply-patch+yaml");
  quick("PATCH", large,
        R"({"metadata":{"$setElementOrder/finalizers":[)" + entries(0, kMany, R"("a.io/{}")") + R"(],"finalizers":[)" +
            entries(0, kMany, R"("a.io/{}")") + "]}}",
        "application/strategic-merge-patch+json");
  quick("DELETE", large, "", "application/json");
}

TEST_F(LargeTest, JsonPatchesOfManyOperations) {
  const std::string large = std::string(kDeployments) + "/large", type = "application/json-patch+json";
  quick("POST", kDeployments, deployment(R"("args":[)" + entries(0, 80'000, R"("a")") + "]"), "application/json");
  const std::string args = "/spec/template/spec/containers/0/args";
  quick("PATCH", large,
        "[" + entries(0, 10'000, (R"({{"op":"add","path":")" + args + R"(/0","value":"{}"}})").c_str()) + "]", type);
  quick("PATCH", large,
        "[" + entries(0, 10'000, (R"({{"op":"remove","path":")" + args + R"(/0","x":{}}})").c_str()) + "]", type);
  quick("PATCH", large,
        "[" +
            entries(0, 10'000,
                    (R"({{"op":"move","from":")" + args + R"(/0","path":")" + args + R"(/1","x":{}}})").c_str()) +
            "]",
        type);
  ok("PATCH", kMap, nullptr, 415);
  EXPECT_EQ(call("POST", kMaps, with_data(R"({"k":")" + repeated("x", 900'000) + "\"}"),
                 {{"Content-Type", "application/json"}})
                ->status,
            201);
  quick("PATCH", std::string(kMaps) + "/a",
        "[" + entries(0, 200, R"({{"op":"copy","from":"/data/k","path":"/data/k{}"}})") + "]", type);
  quick("DELETE", large, "", "application/json");
}

}  // namespace
}  // namespace gantry::apigw
