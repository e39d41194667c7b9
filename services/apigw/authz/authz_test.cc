#include "services/apigw/authz/authz.h"

#include <gtest/gtest.h>

namespace gantry::apigw {
namespace {

// ns/p1 runs on n1 and refers to the Secret ns/s; ns/h on hollow-3.
class FakeFacts final : public Facts {
 public:
  std::string pod_node(std::string_view, std::string_view name) const override {
    return name == "p1" ? "n1" : name == "h" ? "hollow-3" : "";
  }
  bool refers(std::string_view node, std::string_view, std::string_view, std::string_view name) const override {
    return node == "n1" && name == "s";
  }
  bool granted(const Identity&, const Attributes&, std::string*) const override { return false; }
};

bool may(const char* who, Attributes a) { return authorize(identity_of_bus(who), a, FakeFacts()).ok(); }
Attributes about(std::string verb, std::string resource, std::string name, std::string subresource = "") {
  Attributes a;
  a.verb = std::move(verb);
  a.resource = std::move(resource);
  a.name = std::move(name);
  a.subresource = std::move(subresource);
  a.ns = a.resource == "nodes" ? "" : a.resource == "leases" ? "kube-node-lease" : "ns";
  return a;
}
Attributes chain(std::string resource, std::string node) {
  Attributes a;
  a.verb = "watch";
  a.resource = std::move(resource);
  a.node = std::move(node);
  return a;
}

TEST(Authz, ANodeHasItsOwnAndNothingElse) {
  EXPECT_TRUE(may("node-n1", about("update", "pods", "p1", "status")));
  EXPECT_FALSE(may("node-n2", about("update", "pods", "p1", "status")));
  EXPECT_FALSE(may("node-n1", about("update", "pods", "p1")));
  EXPECT_FALSE(may("node-n1", about("update", "pods", "unbound", "status")));
  EXPECT_TRUE(may("node-n1", about("get", "secrets", "s")));
  EXPECT_FALSE(may("node-n1", about("get", "secrets", "other")));
  EXPECT_TRUE(may("node-n1", chain("pods", "n1")));
  EXPECT_FALSE(may("node-n1", chain("pods", "n2")));
}

TEST(Authz, ControllersLetGoOfAnyOwnerAndReadNoSecret) {
  EXPECT_TRUE(may("controllers", about("patch", "secrets", "s")));
  EXPECT_TRUE(may("controllers", about("delete", "secrets", "s")));
  EXPECT_FALSE(may("controllers", chain("secrets", "")));  // but for their metadata
  EXPECT_FALSE(may("controllers", about("get", "secrets", "s")));
  EXPECT_FALSE(may("controllers", about("update", "secrets", "s")));
  EXPECT_FALSE(may("controllers", about("create", "secrets", "s")));
}

TEST(Authz, HollowIsEveryHollowNodeAndNoOther) {
  EXPECT_TRUE(may("hollow", about("create", "nodes", "hollow-7")));
  EXPECT_FALSE(may("hollow", about("create", "nodes", "n1")));
  EXPECT_TRUE(may("hollow", chain("pods", "hollow-3")));
  EXPECT_FALSE(may("hollow", chain("pods", "n1")));
  EXPECT_FALSE(may("hollow", chain("pods", "")));
  EXPECT_TRUE(may("hollow", about("update", "pods", "h", "status")));
  EXPECT_FALSE(may("hollow", about("update", "pods", "p1", "status")));
  EXPECT_FALSE(may("hollow", about("get", "secrets", "s")));
  EXPECT_TRUE(may("hollow", about("update", "leases", "hollow-7")));
}

}  // namespace
}  // namespace gantry::apigw
