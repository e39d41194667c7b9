// Who owns which fields: managedFields of every write, and server-side apply.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "services/apigw/core/testing/test_gateway.h"

namespace gantry::apigw::testing {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

class ApplyTest : public ::testing::Test {
 protected:
  TestGateway g;

  Result<Answer> apply(const std::string& resource, Json body, const std::string& manager, bool force = false,
                       const std::string& subresource = "", bool dry_run = false) {
    const auto& kind = subresource == "scale" ? *model::Schema::get().by_kind("autoscaling", "v1", "Scale")
                                              : *model::Schema::get().by_resource(resource);
    body["apiVersion"] = kind.api_version();
    body["kind"] = kind.kind;
    return g.call({.verb = bus::Verb::Patch,
                   .resource = resource,
                   .subresource = subresource,
                   .ns = "default",
                   .name = body["metadata"]["name"],
                   .json = body.dump(),
                   .patch_type = bus::PatchType::Apply,
                   .dry_run = dry_run,
                   .field_manager = manager,
                   .force = force});
  }
  Result<Answer> write(bus::Verb verb, const std::string& resource, const Json& body, const std::string& manager,
                       const std::string& subresource = "") {
    return g.call({.verb = verb,
                   .resource = resource,
                   .subresource = subresource,
                   .ns = "default",
                   .name = verb == bus::Verb::Create ? "" : body["metadata"]["name"].get<std::string>(),
                   .json = body.dump(),
                   .field_manager = manager});
  }
  Result<Answer> merge(const std::string& resource, const std::string& name, const Json& patch,
                       const std::string& manager) {
    return g.call({.verb = bus::Verb::Patch,
                   .resource = resource,
                   .ns = "default",
                   .name = name,
                   .json = patch.dump(),
                   .field_manager = manager});
  }
  static Json map(const Json& data) { return {{"metadata", {{"name", "c"}}}, {"data", data}}; }
  // Manager -> operation and fields.
  std::map<std::string, std::string> owners(const std::string& resource, const std::string& name) {
    std::map<std::string, std::string> out;
    const Json object = g.stored(resource, "default", name);
    for (const auto& entry : object["metadata"].value("managedFields", Json::array())) {
      out[entry["manager"].get<std::string>() + entry.value("subresource", "")] =
          entry["operation"].get<std::string>() + " " + entry["fieldsV1"].dump();
    }
    return out;
  }
};

TEST_F(ApplyTest, EveryWriteLeavesItsNameOnWhatItChanged) {
  ASSERT_TRUE(write(bus::Verb::Create, "configmaps", map({{"a", "1"}, {"b", "1"}}), "creator").ok());
  EXPECT_EQ(owners("configmaps", "c")["creator"], R"(Update {"f:data":{".":{},"f:a":{},"f:b":{}}})");
  ASSERT_TRUE(merge("configmaps", "c", {{"data", {{"b", "2"}, {"c", "2"}}}}, "patcher").ok());
  Json body = g.stored("configmaps", "default", "c");
  body["data"].erase("a");
  ASSERT_TRUE(write(bus::Verb::Update, "configmaps", body, "updater").ok());
  const auto all = owners("configmaps", "c");
  EXPECT_EQ(all.size(), 2u);
  EXPECT_EQ(all.at("creator"), R"(Update {"f:data":{}})");
  EXPECT_EQ(all.at("patcher"), R"(Update {"f:data":{"f:b":{},"f:c":{}}})");
  const Json entry = g.stored("configmaps", "default", "c")["metadata"]["managedFields"][0];
  EXPECT_EQ(entry["apiVersion"], "v1");
  EXPECT_EQ(entry["fieldsType"], "FieldsV1");
  EXPECT_TRUE(entry.contains("time"));
}

TEST_F(ApplyTest, WhatServicesMakeIsNotTracked) {
  const Identity controllers = identity_of_bus("controllers");
  ASSERT_TRUE(g.call({.verb = bus::Verb::Create,
                      .resource = "configmaps",
                      .ns = "default",
                      .json = map({{"a", "1"}}).dump(),
                      .field_manager = "root-ca-cert-publisher"},
                     &controllers)
                  .ok());
  EXPECT_TRUE(owners("configmaps", "c").empty());
  ASSERT_TRUE(merge("configmaps", "c", {{"data", {{"a", "2"}}}}, "kubectl-edit").ok());
  EXPECT_TRUE(owners("configmaps", "c").empty());
  // The first apply finds that somebody owns all of it.
  const auto refused = apply("configmaps", map({{"a", "3"}}), "me");
  ASSERT_EQ(refused.code(), Code::kConflict);
  EXPECT_EQ(refused.error().message,
            "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .data.a");
  ASSERT_TRUE(apply("configmaps", map({{"a", "3"}}), "me", true).ok());
  EXPECT_EQ(owners("configmaps", "c")["me"], R"(Apply {"f:data":{"f:a":{}}})");
  EXPECT_EQ(owners("configmaps", "c")["before-first-apply"], R"(Update {"f:data":{}})");
}

TEST_F(ApplyTest, AnApplyMakesChangesAndTakesBack) {
  const auto made = apply("configmaps", map({{"a", "1"}, {"b", "1"}}), "me");
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->outcome, Answer::Outcome::kCreated);
  ASSERT_TRUE(merge("configmaps", "c", {{"data", {{"x", "1"}}}}, "other").ok());
  const auto changed = apply("configmaps", map({{"b", "2"}}), "me");
  ASSERT_TRUE(changed.ok()) << changed.error().message;
  EXPECT_EQ(changed->outcome, Answer::Outcome::kObject);
  EXPECT_EQ(g.stored("configmaps", "default", "c")["data"], Json::parse(R"({"b":"2","x":"1"})"));
  g.loop.advance(std::chrono::seconds(5));
  const auto same = apply("configmaps", map({{"b", "2"}}), "me");
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->revision, changed->revision) << "nothing changed but the time";
}

TEST_F(ApplyTest, ASecretsStringsAreAppliedOnce) {
  const Json body = {{"metadata", {{"name", "s"}}}, {"stringData", {{"p", "q"}}}};
  ASSERT_TRUE(apply("secrets", body, "me").ok());
  const uint64_t revision = g.get("secrets", "default", "s")->revision;
  EXPECT_EQ(g.stored("secrets", "default", "s")["data"]["p"], "cQ==");
  g.loop.advance(std::chrono::seconds(5));
  const auto same = apply("secrets", body, "me");
  ASSERT_TRUE(same.ok()) << same.error().message;
  EXPECT_EQ(same->revision, revision);
}

TEST_F(ApplyTest, ConflictsNameTheManagerAndForceTakesOver) {
  ASSERT_TRUE(apply("deployments", TestGateway::deployment("web", 1), "me").ok());
  ASSERT_TRUE(merge("deployments", "web", {{"spec", {{"replicas", 5}}}}, "scaler").ok());
  const auto refused = apply("deployments", TestGateway::deployment("web", 2), "me");
  ASSERT_EQ(refused.code(), Code::kConflict);
  EXPECT_THAT(refused.error().message,
              HasSubstr("Apply failed with 1 conflict: conflict with \"scaler\" using apps/v1 at "));
  EXPECT_THAT(refused.error().message, HasSubstr(": .spec.replicas"));
  ASSERT_EQ(refused.error().causes.size(), 1u);
  EXPECT_EQ(refused.error().causes[0].reason, "FieldManagerConflict");
  EXPECT_EQ(refused.error().causes[0].field, ".spec.replicas");
  // Without the field, the other keeps it; with the same value, both own it.
  Json without = TestGateway::deployment("web");
  without["spec"].erase("replicas");
  ASSERT_TRUE(apply("deployments", without, "me").ok());
  EXPECT_EQ(g.stored("deployments", "default", "web")["spec"]["replicas"], 5);
  ASSERT_TRUE(apply("deployments", TestGateway::deployment("web", 5), "me").ok());
  EXPECT_THAT(owners("deployments", "web")["scaler"], HasSubstr("f:replicas"));
  EXPECT_THAT(owners("deployments", "web")["me"], HasSubstr("f:replicas"));
  ASSERT_TRUE(apply("deployments", TestGateway::deployment("web", 7), "me", true).ok());
  EXPECT_EQ(g.stored("deployments", "default", "web")["spec"]["replicas"], 7);
  EXPECT_FALSE(owners("deployments", "web").contains("scaler"));
  EXPECT_EQ(g.stored("deployments", "default", "web")["metadata"]["generation"], 3);
}

TEST_F(ApplyTest, ElementsOfListsHaveTheirOwnOwners) {
  Json mine = TestGateway::deployment("web");
  ASSERT_TRUE(apply("deployments", mine, "me").ok());
  Json theirs = {{"metadata", {{"name", "web"}}},
                 {"spec", {{"template", {{"spec", {{"containers", {{{"name", "side"}, {"image", "side:1"}}}}}}}}}}};
  ASSERT_TRUE(apply("deployments", theirs, "mesh").ok());
  mine["spec"]["template"]["spec"]["containers"][0]["image"] = "demo:2";
  ASSERT_TRUE(apply("deployments", mine, "me").ok());
  Json containers = g.stored("deployments", "default", "web")["spec"]["template"]["spec"]["containers"];
  ASSERT_EQ(containers.size(), 2u);
  EXPECT_EQ(containers[0]["image"], "demo:2");
  EXPECT_EQ(containers[1]["image"], "side:1");
  theirs.erase("spec");
  ASSERT_TRUE(apply("deployments", theirs, "mesh").ok());
  containers = g.stored("deployments", "default", "web")["spec"]["template"]["spec"]["containers"];
  EXPECT_EQ(containers.size(), 1u);
  EXPECT_FALSE(owners("deployments", "web").contains("mesh"));
}

TEST_F(ApplyTest, StatusAndScaleAreAppliedOnTheirOwn) {
  ASSERT_TRUE(apply("deployments", TestGateway::deployment("web", 1), "me").ok());
  const auto status = apply(
      "deployments", {{"metadata", {{"name", "web"}}}, {"spec", {{"replicas", 9}}}, {"status", {{"replicas", 1}}}},
      "reporter", false, "status");
  ASSERT_TRUE(status.ok()) << status.error().message;
  EXPECT_EQ(g.stored("deployments", "default", "web")["spec"]["replicas"], 1);
  EXPECT_EQ(owners("deployments", "web")["reporterstatus"], R"(Apply {"f:status":{"f:replicas":{}}})");
  const Json scale = {{"metadata", {{"name", "web"}}}, {"spec", {{"replicas", 3}}}};
  const auto refused = apply("deployments", scale, "scaler", false, "scale");
  ASSERT_EQ(refused.code(), Code::kConflict);
  EXPECT_EQ(refused.error().causes[0].message, "conflict with \"me\"");
  ASSERT_TRUE(apply("deployments", scale, "scaler", true, "scale").ok());
  EXPECT_EQ(g.stored("deployments", "default", "web")["spec"]["replicas"], 3);
  EXPECT_EQ(owners("deployments", "web")["scalerscale"], R"(Apply {"f:spec":{"f:replicas":{}}})");
  const auto back = apply("deployments", TestGateway::deployment("web", 1), "me");
  ASSERT_EQ(back.code(), Code::kConflict);
  EXPECT_EQ(back.error().causes[0].message, "conflict with \"scaler\" with subresource \"scale\"");
}

TEST_F(ApplyTest, KubectlMayTakeOverWhatItAppliedBefore) {
  Json body = map({{"a", "1"}});
  body["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"] = map({{"a", "1"}}).dump() + "\n";
  ASSERT_TRUE(write(bus::Verb::Create, "configmaps", body, "kubectl-client-side-apply").ok());
  EXPECT_EQ(apply("configmaps", map({{"a", "2"}}), "helm").code(), Code::kConflict);
  const auto taken = apply("configmaps", map({{"a", "2"}}), "kubectl");
  ASSERT_TRUE(taken.ok()) << taken.error().message;
  // Who goes back to client-side apply finds what was applied last.
  const Json stored = g.stored("configmaps", "default", "c");
  const auto last = Json::parse(
      stored["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"].get<std::string>());
  EXPECT_EQ(last["data"]["a"], "2");
  EXPECT_EQ(last["kind"], "ConfigMap");
}

TEST_F(ApplyTest, ADryRunTellsAndDoesNothing) {
  const auto made = apply("configmaps", map({{"a", "1"}}), "me", false, "", true);
  ASSERT_TRUE(made.ok());
  EXPECT_EQ(made->outcome, Answer::Outcome::kCreated);
  EXPECT_TRUE(g.stored("configmaps", "default", "c").is_null());
  ASSERT_TRUE(apply("configmaps", map({{"a", "1"}}), "me").ok());
  EXPECT_EQ(model::to_tree(apply("configmaps", map({{"a", "2"}}), "me", false, "", true)->object)["data"]["a"], "2");
  EXPECT_EQ(g.stored("configmaps", "default", "c")["data"]["a"], "1");
}

TEST_F(ApplyTest, WhatIsNoConfigurationIsRefused) {
  const auto refused = [&](Json body, const std::string& manager = "me") {
    const auto answer = g.call({.verb = bus::Verb::Patch,
                                .resource = "configmaps",
                                .ns = "default",
                                .name = "c",
                                .json = body.is_string() ? body.get<std::string>() : body.dump(),
                                .patch_type = bus::PatchType::Apply,
                                .field_manager = manager});
    return std::to_string(http_status(answer.code())) + " " + (answer.ok() ? "ok" : answer.error().message);
  };
  Json good = map({{"a", "1"}});
  good["apiVersion"] = "v1";
  good["kind"] = "ConfigMap";
  EXPECT_EQ(refused(good, ""),
            "422 PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch");
  Json body = good;
  body["metadata"]["managedFields"] = Json::array({{{"manager", "x"}}});
  EXPECT_EQ(refused(body), "400 metadata.managedFields must be nil");
  body = good;
  body["datas"] = 1;
  EXPECT_EQ(
      refused(body),
      "400 failed to create typed patch object (default/c; v1, Kind=ConfigMap): .datas: field not declared in schema");
  body = good;
  body["apiVersion"] = "v2";
  EXPECT_EQ(refused(body), "400 Incorrect version specified in apply patch. Specified patch version: v2, expected: v1");
  body = good;
  body["metadata"]["name"] = "d";
  EXPECT_EQ(refused(body), "400 the name of the object (d) does not match the name on the URL (c)");
  body = good;
  body["metadata"]["uid"] = "11111111-1111-1111-1111-111111111111";
  EXPECT_THAT(refused(body), HasSubstr("409 "));
  EXPECT_THAT(refused("[1]"), HasSubstr("400 "));
  EXPECT_THAT(refused("{{"), HasSubstr("400 "));
  const auto forced = g.call({.verb = bus::Verb::Patch,
                              .resource = "configmaps",
                              .ns = "default",
                              .name = "c",
                              .json = "{}",
                              .field_manager = "me",
                              .force = true});
  EXPECT_EQ(forced.error().message,
            "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch");
}

TEST_F(ApplyTest, ClientsMayRewriteAndClearManagedFields) {
  ASSERT_TRUE(apply("configmaps", map({{"a", "1"}}), "me").ok());
  const uint64_t revision = g.get("configmaps", "default", "c")->revision;
  // An empty list is what clients send that do not know the field.
  ASSERT_TRUE(merge("configmaps", "c", {{"metadata", {{"managedFields", Json::array()}}}}, "x").ok());
  EXPECT_EQ(g.get("configmaps", "default", "c")->revision, revision);
  // As kubectl does it when it moves from client-side apply.
  Json entry = g.stored("configmaps", "default", "c")["metadata"]["managedFields"];
  entry[0]["manager"] = "renamed";
  ASSERT_TRUE(merge("configmaps", "c", {{"metadata", {{"managedFields", entry}}}}, "x").ok());
  EXPECT_EQ(owners("configmaps", "c").count("renamed"), 1u);
  ASSERT_TRUE(merge("configmaps", "c", {{"metadata", {{"managedFields", Json::array({Json::object()})}}}}, "x").ok());
  EXPECT_TRUE(owners("configmaps", "c").empty());
}

TEST_F(ApplyTest, TwoAppliersThatRaceBothHold) {
  const auto other = g.another();
  std::vector<Result<Answer>> answers;
  for (int i = 0; i < 40; ++i) {
    Json body = map({{"k" + std::to_string(i), "v"}});
    body["apiVersion"] = "v1";
    body["kind"] = "ConfigMap";
    (i % 2 == 0 ? *g.api : *other)
        .handle(g.admin,
                {.verb = bus::Verb::Patch,
                 .resource = "configmaps",
                 .ns = "default",
                 .name = "c",
                 .json = body.dump(),
                 .patch_type = bus::PatchType::Apply,
                 .field_manager = "m" + std::to_string(i)},
                [&](Result<Answer> answer) { answers.push_back(std::move(answer)); });
    g.loop.advance(std::chrono::milliseconds(1));
  }
  g.loop.run_until([&] { return answers.size() == 40; }, std::chrono::seconds(30));
  size_t good = 0, created = 0;
  for (const auto& answer : answers) {
    good += answer.ok() ? 1 : 0;
    created += answer.ok() && answer->outcome == Answer::Outcome::kCreated ? 1 : 0;
    if (!answer.ok()) {
      EXPECT_EQ(answer.code(), Code::kConflict) << answer.error().message;
    }
  }
  EXPECT_EQ(created, 1u);
  EXPECT_EQ(g.stored("configmaps", "default", "c")["data"].size(), good);
  EXPECT_EQ(owners("configmaps", "c").size(), good);
}

}  // namespace
}  // namespace gantry::apigw::testing
