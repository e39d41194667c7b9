// Every path of the Kubernetes API's stable versions, from the fact tables beside the repository (skipped without
// them).
#include <gtest/gtest.h>

#include <regex>

#include "services/apigw/rest/route.h"
#include "services/apigw/rest/subresources.h"
#include "services/apigw/rest/testing/operations.h"

namespace gantry::apigw {
namespace {

using testing::Operation;

std::string verb_of(const Operation& fact) {
  if (fact.action == "watchlist") return "watch";
  if (fact.action == "post") return "create";
  if (fact.action == "put") return "update";
  if (fact.action != "connect") return fact.action;
  if (fact.method == "POST") return "create";
  if (fact.method == "PUT") return "update";
  if (fact.method == "PATCH") return "patch";
  return fact.method == "DELETE" ? "delete" : "get";
}

TEST(Facts, EveryPathHasARouteToItsKind) {
  const auto all = testing::reference_operations();
  if (all.empty()) GTEST_SKIP() << "no fact tables";
  size_t checked = 0;
  for (const auto& fact : all) {
    if (fact.method == "OPTIONS") continue;  // of proxies; browsers ask, clients do not
    http::Request request;
    request.method = fact.method;
    request.path = std::regex_replace(fact.path, std::regex("\\{path\\}"), "a/b");
    request.path = std::regex_replace(request.path, std::regex("\\{\\w+\\}"), "x");
    request.raw_path = request.path;
    const auto route = find_route(request);
    const std::string where = fact.method + " " + fact.path;
    EXPECT_EQ(route.target, Route::Target::kResource) << where;
    if (route.target != Route::Target::kResource) continue;
    ++checked;
    EXPECT_EQ(route.verb, verb_of(fact)) << where;
    std::string group = route.kind->group, version = route.kind->version, kind = route.kind->kind;
    if (!route.subresource.empty()) {
      const auto sub = subresource_of(*route.kind, route.subresource);
      group = sub.group, version = sub.version, kind = sub.kind;
    }
    EXPECT_EQ((group.empty() ? "core" : group) + "/" + version + "/" + kind, fact.kind) << where;
  }
  EXPECT_GT(checked, 400u);
}

TEST(Facts, OpenApiHasEveryPathAndParameter) {
  const auto all = testing::reference_operations();
  if (all.empty()) GTEST_SKIP() << "no fact tables";
  const auto* v2 = openapi_document("/openapi/v2", "");
  ASSERT_NE(v2, nullptr);
  const auto tree = nlohmann::json::parse(v2->body);
  for (const auto& fact : all) {
    if (fact.action.starts_with("watch") || fact.action == "connect" || fact.method == "OPTIONS") continue;
    std::string method = fact.method;
    for (char& c : method) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    const std::string where = method + " " + fact.path;
    ASSERT_TRUE(tree["paths"].contains(fact.path)) << where;
    const auto& item = tree["paths"][fact.path];
    ASSERT_TRUE(item.contains(method)) << where;
    if (fact.path.ends_with("/log")) continue;
    std::set<std::string> names;
    for (const auto& p : item[method].value("parameters", nlohmann::json::array())) names.insert(p["name"]);
    std::stringstream wanted(fact.parameters);
    for (std::string name; std::getline(wanted, name, ',');) EXPECT_TRUE(names.contains(name)) << where << " " << name;
  }
}

}  // namespace
}  // namespace gantry::apigw
