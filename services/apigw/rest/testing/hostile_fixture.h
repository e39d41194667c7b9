// What sends requests that no good client sends, and demands a Status with a 4xx of each; hostile_*_test.cc have them.
#pragma once

#include "services/apigw/rest/body.h"
#include "services/apigw/rest/testing/rest_fixture.h"

namespace gantry::apigw {

inline constexpr const char* kMaps = "/api/v1/namespaces/default/configmaps";
inline constexpr const char* kMap = "/api/v1/namespaces/default/configmaps/here";
inline constexpr const char* kDeployments = "/apis/apps/v1/namespaces/default/deployments";
inline constexpr const char* kProtobuf = "application/vnd.kubernetes.protobuf";

inline std::string repeated(std::string_view text, size_t times) {
  std::string out;
  out.reserve(text.size() * times);
  for (size_t i = 0; i < times; ++i) out += text;
  return out;
}

inline std::string with_data(const std::string& value) {
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

inline const std::string kDeep = repeated("[", 100'000);
inline const std::string kDeepObjects = repeated(R"({"a":)", 100'000) + "1" + repeated("}", 100'000);

}  // namespace gantry::apigw
