#include "services/controllers/namespace/namespace.h"

#include <gtest/gtest.h>

#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;

struct NamespaceTest : ::testing::Test {
  void SetUp() override {
    h.start(std::make_unique<NamespaceController>());
    for (const char* name : {"a", "b"}) {
      h.cluster.add(fmt::format(
          R"({{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{}"}},"spec":{{"finalizers":["kubernetes"]}}}})",
          name));
      h.cluster.add(
          fmt::format(R"({{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"c","namespace":"{}"}}}})", name));
      h.cluster.add(fmt::format(
          R"({{"apiVersion":"v1","kind":"Pod","metadata":{{"name":"p","namespace":"{}"}},"spec":{{"nodeName":"n1","containers":[]}}}})",
          name));
    }
  }
  void end(std::string_view name) {
    bus::Command command;
    command.verb = bus::Verb::Delete;
    command.resource = "namespaces";
    command.name = name;
    ASSERT_TRUE(h.cluster.run(command).ok());
  }
  testing::Harness h;
};

TEST_F(NamespaceTest, EmptiesItAndLetsGoWhenThePodsAreGone) {
  h.run();
  end("a");
  h.pass(30s);
  EXPECT_EQ(h.cluster.keys("configmaps"), (std::vector<std::string>{"b/c"}));
  ASSERT_NE(h.cluster.get("namespaces", "a"), nullptr);  // its pod still runs
  EXPECT_TRUE((*h.cluster.get("pods", "a/p"))["metadata"].contains("deletionTimestamp"));
  EXPECT_FALSE((*h.cluster.get("pods", "b/p"))["metadata"].contains("deletionTimestamp"));
  h.cluster.erase("pods", "a/p");
  h.pass(3s);
  EXPECT_EQ(h.cluster.get("namespaces", "a"), nullptr);
  EXPECT_NE(h.cluster.get("namespaces", "b"), nullptr);
}

TEST_F(NamespaceTest, SaysWhatRemains) {
  h.cluster.edit("configmaps", "a/c", R"({"metadata":{"finalizers":["x/y"]}})");
  h.run();
  end("a");
  h.pass(5s);
  std::map<std::string, std::string> said;
  for (const auto& c : (*h.cluster.get("namespaces", "a"))["status"]["conditions"]) {
    said[c["type"]] = fmt::format("{} {}: {}", c["status"].get<std::string>(), c["reason"].get<std::string>(),
                                  c["message"].get<std::string>());
  }
  EXPECT_EQ(said.size(), 5u);
  EXPECT_EQ(said["NamespaceContentRemaining"],
            "True SomeResourcesRemain: Some resources are remaining: configmaps. has 1 resource instances, pods. has 1 "
            "resource instances");
  EXPECT_EQ(said["NamespaceFinalizersRemaining"],
            "True SomeFinalizersRemain: Some content in the namespace has finalizers remaining: x/y in 1 resource "
            "instances");
  h.cluster.edit("configmaps", "a/c", R"({"metadata":{"finalizers":null}})");
  h.pass(3s);
  for (const auto& c : (*h.cluster.get("namespaces", "a"))["status"]["conditions"]) {
    if (c["type"] == "NamespaceFinalizersRemaining") {
      EXPECT_EQ(c["status"], "False");
    }
  }
  const auto commands = h.cluster.log.size();
  h.pass(10s);
  for (size_t i = commands; i < h.cluster.log.size(); ++i) EXPECT_NE(h.cluster.log[i].verb, bus::Verb::Update);
}

TEST_F(NamespaceTest, DoesNotTrustAnEmptyView) {
  h.run();
  end("a");
  h.pass(2s);
  h.cluster.edit("configmaps", "b/c", "{}");
  h.cluster.hold_events = true;
  h.cluster.add(
      R"({"apiVersion":"v1","kind":"Secret","metadata":{"name":"late","namespace":"a","finalizers":["x/y"]}})");
  h.cluster.release_events();
  h.cluster.erase("pods", "a/p");
  h.pass(10s);
  EXPECT_NE(h.cluster.get("namespaces", "a"), nullptr);
  h.cluster.edit("secrets", "a/late", R"({"metadata":{"finalizers":null}})");
  h.pass(3s);
  EXPECT_EQ(h.cluster.get("namespaces", "a"), nullptr);
}

TEST_F(NamespaceTest, AFailedDeleteIsTriedAgain) {
  int failures = 0;
  h.cluster.before = [&](const bus::Command& c) -> std::optional<Error> {
    if (c.verb == bus::Verb::DeleteCollection && c.resource == "configmaps" && ++failures < 4)
      return Error{.code = Code::kUnavailable, .message = "no"};
    return std::nullopt;
  };
  h.run();
  h.cluster.erase("pods", "a/p");
  end("a");
  h.pass(20s);
  EXPECT_EQ(h.cluster.get("namespaces", "a"), nullptr);
}

}  // namespace
}  // namespace gantry::controllers
