// Requests whose cost must grow no faster than they do.
#include <chrono>
#include <ctime>

#include "services/apigw/rest/body.h"
#include "services/apigw/rest/testing/hostile_fixture.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

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
    const std::clock_t start = std::clock();  // of this process alone, whatever else the machine does
    const auto answer = call(method, target, body, {{"Content-Type", type}});
    const double took = static_cast<double>(std::clock() - start) / CLOCKS_PER_SEC;
    EXPECT_LT(answer->status, 500);
    EXPECT_LT(took, 40) << method << " " << type;  // a fraction of a second when optimized; quadratic would be minutes
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
