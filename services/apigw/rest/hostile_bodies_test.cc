// Bodies that no good client sends, and objects that are not what the path says.
#include "services/apigw/rest/body.h"
#include "services/apigw/rest/testing/hostile_fixture.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

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

}  // namespace
}  // namespace gantry::apigw
