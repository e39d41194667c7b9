// What the HTTP side of writes adds: field managers, media types, options and answers.
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "services/apigw/rest/body.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

http::Request request(const std::string& method, const std::string& target, std::string body, http::Headers headers) {
  http::Request out;
  out.method = method;
  out.target = target;
  const auto question = target.find('?');
  out.raw_path = target.substr(0, question);
  out.path = *http::percent_decode(out.raw_path);
  if (question != std::string::npos) out.query = *http::Query::parse(target.substr(question + 1));
  out.headers = std::move(headers);
  out.body = std::move(body);
  return out;
}

Result<bus::Command> command(const std::string& method, const std::string& target, std::string body,
                             http::Headers headers) {
  const auto r = request(method, target, std::move(body), std::move(headers));
  return to_command(find_route(r), r);
}

constexpr const char* kMap = "/api/v1/namespaces/default/configmaps/c";

TEST(WriteRequests, TheFieldManagerIsNamedOrTheUserAgents) {
  const std::string type = "application/merge-patch+json";
  auto c = command("PATCH", kMap, "{}", {{"Content-Type", type}, {"User-Agent", "kubectl/v1.34.0 (linux/amd64)"}});
  ASSERT_TRUE(c.ok());
  EXPECT_EQ(c->field_manager, "kubectl");
  c = command("PATCH", std::string(kMap) + "?fieldManager=me", "{}", {{"Content-Type", type}, {"User-Agent", "x/1"}});
  EXPECT_EQ(c->field_manager, "me");
  // Who applies names itself.
  c = command("PATCH", kMap, "{}", {{"Content-Type", "application/apply-patch+yaml"}, {"User-Agent", "x/1"}});
  EXPECT_EQ(c->field_manager, "");
}

TEST(WriteRequests, AConfigurationIsYamlOrJson) {
  const http::Headers headers{{"Content-Type", "application/apply-patch+yaml"}};
  auto c = command("PATCH", std::string(kMap) + "?fieldManager=me&force=true&dryRun=All",
                   "apiVersion: v1\nkind: ConfigMap\ndata:\n  a: \"1\"\n", headers);
  ASSERT_TRUE(c.ok()) << c.error().message;
  EXPECT_EQ(c->patch_type, bus::PatchType::Apply);
  EXPECT_TRUE(c->force && c->dry_run);
  EXPECT_EQ(json::parse(c->json)["data"]["a"], "1");
  c = command("PATCH", kMap, R"({"kind":"ConfigMap"})", headers);
  EXPECT_EQ(json::parse(c->json)["kind"], "ConfigMap");
  EXPECT_EQ(command("PATCH", kMap, "a: [", headers).code(), Code::kBadRequest);
  c = command("PATCH", kMap, "{}", {{"Content-Type", "text/plain"}});
  ASSERT_EQ(c.code(), Code::kUnsupportedMediaType);
  EXPECT_EQ(c.error().message,
            "the body of the request was in an unknown format - accepted media types include: "
            "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, "
            "application/apply-patch+yaml");
}

TEST(WriteRequests, DeleteOptionsComeInTheQueryOrTheBody) {
  auto c = command("DELETE", std::string(kMap) + "?propagationPolicy=Orphan&gracePeriodSeconds=3", "", {});
  EXPECT_EQ(c->propagation, "Orphan");
  EXPECT_EQ(c->grace_period_seconds, 3);
  c = command("DELETE", kMap,
              R"({"kind":"DeleteOptions","apiVersion":"v1","propagationPolicy":"Foreground","dryRun":["All"],
                  "preconditions":{"uid":"u","resourceVersion":"7"}})",
              {{"Content-Type", "application/json"}});
  ASSERT_TRUE(c.ok()) << c.error().message;
  EXPECT_EQ(c->propagation, "Foreground");
  EXPECT_TRUE(c->dry_run);
  EXPECT_EQ(c->uid, "u");
  EXPECT_EQ(c->revision, 7u);
  c = command("DELETE", kMap, "gracePeriodSeconds: 0\norphanDependents: true\n",
              {{"Content-Type", "application/yaml"}});
  ASSERT_TRUE(c.ok()) << c.error().message;
  EXPECT_EQ(c->propagation, "Orphan");
  c = command("DELETE", kMap, R"({"orphanDependents":true,"propagationPolicy":"Foreground"})",
              {{"Content-Type", "application/json"}});
  EXPECT_EQ(c.code(), Code::kInvalid);
}

}  // namespace
}  // namespace gantry::apigw
