#include "services/controllers/clusterrole/clusterrole.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using nlohmann::json;
using namespace std::chrono_literals;

std::string role(const std::string& name, const std::string& label, const std::string& selects,
                 const std::string& resource) {
  json out{{"apiVersion", "rbac.authorization.k8s.io/v1"}, {"kind", "ClusterRole"}, {"metadata", {{"name", name}}}};
  if (!label.empty()) out["metadata"]["labels"] = {{label, "true"}};
  if (!selects.empty()) out["aggregationRule"]["clusterRoleSelectors"] = {{{"matchLabels", {{selects, "true"}}}}};
  if (!resource.empty()) out["rules"] = {{{"verbs", {"get"}}, {"apiGroups", {""}}, {"resources", {resource}}}};
  return out.dump();
}

TEST(ClusterRoleController, FollowsWhatIsSelected) {
  testing::Harness h;
  h.start(std::make_unique<ClusterRoleController>());
  h.cluster.add(role("edit", "", "to-edit", ""));
  h.cluster.add(role("view", "to-edit", "to-view", ""));
  h.cluster.add(role("base", "to-view", "", "pods"));
  h.run();
  const auto resources = [&](const std::string& name) {
    std::string out;
    for (const auto& rule : h.cluster.get("clusterroles", name)->value("rules", json::array()))
      out += rule["resources"][0].get<std::string>() + " ";
    return out;
  };
  EXPECT_EQ(resources("view"), "pods ");
  EXPECT_EQ(resources("edit"), "pods ");  // by way of view
  h.cluster.add(role("crontabs", "to-view", "", "crontabs"));
  h.pass(1s);
  EXPECT_EQ(resources("edit"), "pods crontabs ");
  h.cluster.erase("clusterroles", "base");
  h.pass(1s);
  EXPECT_EQ(resources("edit"), "crontabs ");
  h.cluster.edit("clusterroles", "view", R"({"rules":[]})");
  h.pass(1s);
  EXPECT_EQ(resources("view"), "crontabs ");
}

}  // namespace
}  // namespace gantry::controllers
