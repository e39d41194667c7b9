#include "services/apigw/authz/rbac.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "libs/model/json.h"
#include "services/apigw/authz/default_roles.h"
#include "services/apigw/authz/escalation.h"
#include "services/apigw/authz/mend.h"

namespace gantry::apigw {
namespace {

using nlohmann::json;

const model::Kind& kind_of(const std::string& resource) { return *model::Schema::get().by_resource(resource); }

// A cluster with the default roles and what a test adds.
class RbacTest : public ::testing::Test, public Facts {
 protected:
  RbacTest() {
    for (const auto& role : default_roles()) put(role.resource, to_json(role));
    for (const auto& binding : default_bindings()) put(binding.resource, to_json(binding));
  }
  model::Object object(const std::string& resource, const json& tree) {
    auto bytes = model::from_tree(kind_of(resource), tree);
    EXPECT_TRUE(bytes.ok()) << bytes.error().message;
    return {kind_of(resource), *bytes, ++revision_};
  }
  void put(const std::string& resource, const json& tree) {
    auto made = object(resource, tree);
    cache(resource).put(made, made.revision());
  }
  projection::Cache& cache(const std::string& resource) {
    return resource == "roles"          ? roles_
           : resource == "clusterroles" ? cluster_roles_
           : resource == "rolebindings" ? role_bindings_
                                        : cluster_role_bindings_;
  }
  void bind(const std::string& ns, const std::string& role, const json& subject) {
    put(ns.empty() ? "clusterrolebindings" : "rolebindings",
        {{"metadata", {{"name", "b" + std::to_string(revision_)}, {"namespace", ns}}},
         {"roleRef", {{"apiGroup", "rbac.authorization.k8s.io"}, {"kind", "ClusterRole"}, {"name", role}}},
         {"subjects", {subject}}});
  }
  static json user(const std::string& name) { return {{"kind", "User"}, {"name", name}}; }
  bool may(const Identity& who, const std::string& verb, const std::string& resource, const std::string& ns = "",
           const std::string& group = "", const std::string& sub = "", const std::string& name = "") {
    Attributes a{verb, resource, sub, ns, name, {}, false, {}};
    a.group = group;
    return allowed(who, a, *this);
  }
  bool may_path(const Identity& who, const std::string& path) {
    Attributes a;
    a.verb = "get";
    a.path = path;
    return allowed(who, a, *this);
  }

  std::string pod_node(std::string_view, std::string_view) const override { return {}; }
  bool refers(std::string_view, std::string_view, std::string_view, std::string_view) const override { return false; }
  bool granted(const Identity& i, const Attributes& a, std::string* reason) const override {
    return rbac_.allows(i, a, reason);
  }

  projection::Cache roles_{kind_of("roles")}, cluster_roles_{kind_of("clusterroles")},
      role_bindings_{kind_of("rolebindings")}, cluster_role_bindings_{kind_of("clusterrolebindings")};
  Rbac rbac_{{roles_, cluster_roles_, role_bindings_, cluster_role_bindings_}};
  uint64_t revision_ = 0;
  Identity alice_ = identity_of_user("alice", {"dev"});
};

TEST_F(RbacTest, EverybodyFindsOutWhatThereIsAndNobodyElseAnything) {
  EXPECT_TRUE(may_path(alice_, "/apis/apps/v1"));
  EXPECT_TRUE(may_path(anonymous(), "/version"));
  EXPECT_FALSE(may_path(anonymous(), "/apis"));
  EXPECT_TRUE(may(alice_, "create", "selfsubjectaccessreviews", "", "authorization.k8s.io"));
  EXPECT_FALSE(may(alice_, "list", "pods", "default"));
  EXPECT_TRUE(may(identity_of_user("root", {"system:masters"}), "anything", "whatever"));
}

TEST_F(RbacTest, ARoleBindingGrantsInItsNamespaceOnly) {
  bind("team", "edit", user("alice"));
  EXPECT_TRUE(may(alice_, "list", "pods", "team"));
  EXPECT_TRUE(may(alice_, "get", "configmaps", "team"));  // edit aggregates view
  EXPECT_TRUE(may(alice_, "create", "deployments", "team", "apps"));
  EXPECT_TRUE(may(alice_, "create", "pods", "team", "", "exec"));
  EXPECT_FALSE(may(alice_, "list", "pods", "other"));
  EXPECT_FALSE(may(alice_, "list", "pods"));
  EXPECT_FALSE(may(alice_, "create", "roles", "team", "rbac.authorization.k8s.io"));
  bind("team", "admin", {{"kind", "Group"}, {"name", "dev"}});
  EXPECT_TRUE(may(alice_, "create", "roles", "team", "rbac.authorization.k8s.io"));
  EXPECT_TRUE(may(alice_, "get", "namespaces", "team", "", "", "team"));
}

TEST_F(RbacTest, NamesSubresourcesAndAccounts) {
  put("clusterroles",
      {{"metadata", {{"name", "r"}}},
       {"rules",
        {{{"verbs", {"get"}}, {"apiGroups", {""}}, {"resources", {"secrets"}}, {"resourceNames", {"a"}}},
         {{"verbs", {"update"}}, {"apiGroups", {"*"}}, {"resources", {"*/scale"}}}}}});
  put("clusterrolebindings", {{"metadata", {{"name", "x"}}},
                              {"roleRef", {{"kind", "ClusterRole"}, {"name", "r"}}},
                              {"subjects", {{{"kind", "ServiceAccount"}, {"name", "bot"}, {"namespace", "ci"}}}}});
  const Identity bot = identity_of_service_account("ci", "bot", "u");
  EXPECT_TRUE(may(bot, "get", "secrets", "x", "", "", "a"));
  EXPECT_FALSE(may(bot, "get", "secrets", "x", "", "", "b"));
  EXPECT_FALSE(may(bot, "list", "secrets", "x"));
  EXPECT_TRUE(may(bot, "update", "deployments", "x", "apps", "scale"));
  EXPECT_FALSE(may(bot, "update", "deployments", "x", "apps"));
  std::string reason;
  Attributes a{"get", "secrets", "", "x", "a", {}, false, {}};
  ASSERT_TRUE(rbac_.allows(bot, a, &reason));
  EXPECT_EQ(reason, "RBAC: allowed by ClusterRoleBinding \"x\" of ClusterRole \"r\" to ServiceAccount \"bot/ci\"");
}

TEST_F(RbacTest, AggregationFollowsLabels) {
  bind("", "view", user("alice"));
  EXPECT_FALSE(may(alice_, "list", "widgets", "", "example.com"));
  put("clusterroles",
      {{"metadata", {{"name", "widgets"}, {"labels", {{"rbac.authorization.k8s.io/aggregate-to-view", "true"}}}}},
       {"rules", {{{"verbs", {"list"}}, {"apiGroups", {"example.com"}}, {"resources", {"widgets"}}}}}});
  EXPECT_TRUE(may(alice_, "list", "widgets", "", "example.com"));
}

TEST_F(RbacTest, NobodyGrantsWhatHeDoesNotHave) {
  bind("team", "admin", user("alice"));
  const auto role = [&](const json& rules) {
    return object("roles", {{"metadata", {{"name", "r"}, {"namespace", "team"}}}, {"rules", rules}});
  };
  const json held = {{{"verbs", {"get", "list"}}, {"apiGroups", {""}}, {"resources", {"pods", "pods/log"}}}};
  EXPECT_TRUE(check_role(alice_, role(held), {}, rbac_, *this).ok());
  const json more = {{{"verbs", {"get", "list"}}, {"apiGroups", {""}}, {"resources", {"nodes"}}}};
  const auto refused = check_role(alice_, role(more), {}, rbac_, *this);
  EXPECT_EQ(refused.code(), Code::kForbidden);
  EXPECT_EQ(refused.error().message,
            "roles.rbac.authorization.k8s.io \"r\" is forbidden: user \"alice\" (groups=[\"dev\" "
            "\"system:authenticated\"]) is attempting to grant RBAC permissions not currently held:\n"
            "{APIGroups:[\"\"], Resources:[\"nodes\"], Verbs:[\"get\" \"list\"]}");
  EXPECT_TRUE(check_role(alice_, role(more), role(more), rbac_, *this).ok());  // unchanged
  const auto binding = [&](const char* name) {
    return object("rolebindings", {{"metadata", {{"name", "b"}, {"namespace", "team"}}},
                                   {"roleRef", {{"kind", "ClusterRole"}, {"name", name}}},
                                   {"subjects", {user("bob")}}});
  };
  EXPECT_TRUE(check_binding(alice_, binding("view"), {}, rbac_, *this).ok());
  EXPECT_EQ(check_binding(alice_, binding("cluster-admin"), {}, rbac_, *this).code(), Code::kForbidden);
  EXPECT_EQ(check_binding(alice_, binding("none"), {}, rbac_, *this).code(), Code::kNotFound);
  put("clusterroles", {{"metadata", {{"name", "binder"}}},
                       {"rules",
                        {{{"verbs", {"bind"}},
                          {"apiGroups", {"rbac.authorization.k8s.io"}},
                          {"resources", {"clusterroles"}},
                          {"resourceNames", {"cluster-admin"}}}}}});
  bind("team", "binder", user("alice"));
  EXPECT_TRUE(check_binding(alice_, binding("cluster-admin"), {}, rbac_, *this).ok());
}

TEST_F(RbacTest, DefaultsArePutBackAndAdditionsStay) {
  const json wanted = to_json(default_roles()[1]);
  json there = wanted;
  EXPECT_FALSE(mend_default(there, wanted));
  there["rules"] = json::array({{{"verbs", {"get"}}, {"nonResourceURLs", {"/mine"}}}});
  const auto mended = mend_default(there, wanted);
  ASSERT_TRUE(mended);
  EXPECT_EQ((*mended)["rules"][0]["nonResourceURLs"][0], "/mine");
  EXPECT_FALSE(mend_default(*mended, wanted));
  there["metadata"]["annotations"][kAutoUpdate] = "false";
  EXPECT_FALSE(mend_default(there, wanted));
}

TEST_F(RbacTest, ADenialSaysWhoWhatWhere) {
  const auto said = [&](Attributes a) { return authorize(alice_, a, *this).error().message; };
  EXPECT_EQ(said({"list", "pods", "", "y", "", {}, false, {}}),
            "pods is forbidden: User \"alice\" cannot list resource \"pods\" in API group \"\" in the namespace \"y\"");
  EXPECT_EQ(
      said({"get", "deployments", "scale", "y", "web", {}, false, {}}),
      "deployments.apps \"web\" is forbidden: User \"alice\" cannot get resource \"deployments/scale\" in API group "
      "\"apps\" in the namespace \"y\"");
  EXPECT_EQ(
      said({"get", "nodes", "", "", "n", {}, false, {}}),
      "nodes \"n\" is forbidden: User \"alice\" cannot get resource \"nodes\" in API group \"\" at the cluster scope");
}

}  // namespace
}  // namespace gantry::apigw
