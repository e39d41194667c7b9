// The rules of create, update, patch and delete that clients of the API rely on.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "services/apigw/core/testing/test_gateway.h"

namespace gantry::apigw::testing {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

class WritesTest : public ::testing::Test {
 protected:
  TestGateway g;
  static Json map(const std::string& name, const Json& data = {{"k", "v"}}) {
    return {{"metadata", {{"name", name}}}, {"data", data}};
  }
};

TEST_F(WritesTest, APatchThatDoesNotFitIsInvalidAndOneThatIsNoneIsBad) {
  ASSERT_TRUE(g.create("configmaps", "default", map("c")).ok());
  const auto patched = [&](const char* text, bus::PatchType type) {
    return g.call({.verb = bus::Verb::Patch,
                   .resource = "configmaps",
                   .ns = "default",
                   .name = "c",
                   .json = text,
                   .patch_type = type});
  };
  const auto failed = patched(R"([{"op":"test","path":"/data/k","value":"x"}])", bus::PatchType::Json);
  ASSERT_EQ(failed.code(), Code::kInvalid);
  EXPECT_EQ(failed.error().message, "the server rejected our request due to an error in our request");
  EXPECT_EQ(failed.error().causes[0].message, "testing value /data/k failed: test failed");
  EXPECT_EQ(patched(R"([{"op":"remove","path":"/data/x"}])", bus::PatchType::Json).error().causes[0].message,
            "remove operation does not apply: doc is missing key: /data/x: missing value");
  EXPECT_TRUE(patched(R"([{"op":"test","path":"/data/x","value":null}])", bus::PatchType::Json).ok());
  EXPECT_EQ(patched(R"([{"op":"jump","path":"/data/x"}])", bus::PatchType::Json).code(), Code::kBadRequest);
  EXPECT_EQ(patched(R"({"op":"add"})", bus::PatchType::Json).code(), Code::kBadRequest);
  EXPECT_EQ(patched(R"({"data":)", bus::PatchType::Merge).code(), Code::kBadRequest);
  EXPECT_EQ(patched(R"({"data":[1]})", bus::PatchType::Merge).code(), Code::kInvalid);
  EXPECT_EQ(patched(R"({"data":[1]})", bus::PatchType::Strategic).code(), Code::kInvalid);
  EXPECT_EQ(patched(R"({"metadata":{"name":"d"}})", bus::PatchType::Merge).error().message,
            "the name of the object (d) does not match the name on the URL (c)");
  EXPECT_EQ(patched(R"({"kind":"Secret"})", bus::PatchType::Merge).code(), Code::kBadRequest);
}

TEST_F(WritesTest, APatchThatSaysAKeyTwiceIsToldSo) {
  ASSERT_TRUE(g.create("configmaps", "default", map("c")).ok());
  const auto patched = [&](const char* validation) {
    return g.call({.verb = bus::Verb::Patch,
                   .resource = "configmaps",
                   .ns = "default",
                   .name = "c",
                   .json = R"({"data":{"a":"1","a":"2"},"more":1})",
                   .patch_type = bus::PatchType::Merge,
                   .field_validation = validation});
  };
  const auto strict = patched("Strict");
  ASSERT_EQ(strict.code(), Code::kInvalid);
  EXPECT_THAT(strict.error().message,
              HasSubstr("strict decoding error: duplicate field \"data.a\", unknown field \"more\""));
  EXPECT_TRUE(patched("Ignore").ok());
  EXPECT_EQ(g.stored("configmaps", "default", "c")["data"]["a"], "2");
}

TEST_F(WritesTest, AnUpdateMakesOnlyWhatTheApiLetsItMake) {
  const auto put = [&](const char* resource, const Json& body) {
    return g.call({.verb = bus::Verb::Update,
                   .resource = resource,
                   .ns = "default",
                   .name = body["metadata"]["name"],
                   .json = body.dump()});
  };
  EXPECT_EQ(put("configmaps", map("c")).code(), Code::kNotFound);
  const auto made = put("services", TestGateway::service("s"));
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->outcome, Answer::Outcome::kCreated);
  EXPECT_NE(g.stored("services", "default", "s")["spec"].value("clusterIP", ""), "");
  Json again = TestGateway::service("s");
  again["spec"]["ports"][0]["port"] = 81;
  EXPECT_EQ(put("services", again)->outcome, Answer::Outcome::kObject);
}

TEST_F(WritesTest, ADryRunTakesNothing) {
  const auto dry = [&](bus::Verb verb, const char* resource, const std::string& name, const Json& body) {
    return g.call({.verb = verb,
                   .resource = resource,
                   .ns = "default",
                   .name = name,
                   .json = body.is_null() ? "" : body.dump(),
                   .dry_run = true});
  };
  Json service = TestGateway::service("s", "NodePort");
  service["spec"]["ports"][0]["nodePort"] = 30007;
  service["spec"]["clusterIP"] = "10.96.0.77";
  const auto tried = dry(bus::Verb::Create, "services", "", service);
  ASSERT_TRUE(tried.ok()) << tried.error().message;
  EXPECT_EQ(tried->outcome, Answer::Outcome::kCreated);
  EXPECT_TRUE(g.stored("services", "default", "s").is_null());
  ASSERT_TRUE(g.create("services", "default", service).ok()) << "the address and the port are still free";
  EXPECT_EQ(dry(bus::Verb::Create, "services", "", service).code(), Code::kAlreadyExists);
  EXPECT_TRUE(dry(bus::Verb::Delete, "services", "s", nullptr).ok());
  EXPECT_FALSE(g.stored("services", "default", "s").is_null());
}

TEST_F(WritesTest, ADeletesOptionsAreChecked) {
  ASSERT_TRUE(g.create("configmaps", "default", map("c")).ok());
  const auto odd = g.call(
      {.verb = bus::Verb::Delete, .resource = "configmaps", .ns = "default", .name = "c", .propagation = "Sideways"});
  EXPECT_EQ(odd.error().message,
            "DeleteOptions.meta.k8s.io \"\" is invalid: propagationPolicy: Unsupported value: \"Sideways\": supported "
            "values: \"Background\", \"Foreground\", \"Orphan\", \"nil\"");
  const auto held = g.call(
      {.verb = bus::Verb::Delete, .resource = "configmaps", .ns = "default", .name = "c", .propagation = "Foreground"});
  ASSERT_TRUE(held.ok());
  EXPECT_EQ(held->outcome, Answer::Outcome::kObject) << "it is there until its dependents are gone";
  const Json stored = g.stored("configmaps", "default", "c");
  EXPECT_EQ(stored["metadata"]["finalizers"], Json::array({"foregroundDeletion"}));
  ASSERT_TRUE(g.call({.verb = bus::Verb::Delete,
                      .resource = "configmaps",
                      .ns = "default",
                      .name = "c",
                      .propagation = "Background"})
                  .ok());
  EXPECT_TRUE(g.stored("configmaps", "default", "c").is_null());
}

TEST_F(WritesTest, ACollectionIsDeletedBySelectors) {
  for (const char* name : {"a", "b", "c"}) {
    Json body = map(name);
    body["metadata"]["labels"]["app"] = name == std::string("c") ? "keep" : "go";
    ASSERT_TRUE(g.create("configmaps", "default", body).ok());
  }
  bus::Command command{.verb = bus::Verb::DeleteCollection,
                       .resource = "configmaps",
                       .ns = "default",
                       .dry_run = true,
                       .label_selector = "app=go"};
  ASSERT_TRUE(g.call(command).ok());
  EXPECT_EQ(g.list("configmaps", "default")->items.size(), 3u);
  command.dry_run = false;
  const auto gone = g.call(command);
  ASSERT_TRUE(gone.ok());
  EXPECT_EQ(gone->items.size(), 2u);
  const auto left = g.list("configmaps", "default");
  ASSERT_EQ(left->items.size(), 1u);
  EXPECT_EQ(left->items[0].name(), "c");
}

TEST_F(WritesTest, EveryScalableKindHasAScale) {
  for (const char* resource : {"statefulsets", "replicationcontrollers"}) {
    if (model::Schema::get().by_resource(resource) == nullptr) continue;
    Json body = TestGateway::deployment("s", 2);
    if (resource == std::string("statefulsets")) {
      body["spec"]["serviceName"] = "s";
    } else {
      body["spec"]["selector"] = {{"app", "s"}};
    }
    const auto made = g.create(resource, "default", body);
    ASSERT_TRUE(made.ok()) << made.error().message;
    ASSERT_TRUE(g.patch(resource, "default", "s", {{"spec", {{"replicas", 5}}}}, "scale").ok());
    const Json scale = model::to_tree(g.get(resource, "default", "s", "scale")->object);
    EXPECT_EQ(scale["spec"]["replicas"], 5);
    EXPECT_EQ(scale["status"]["selector"], "app=s");
    EXPECT_EQ(g.stored(resource, "default", "s")["metadata"]["generation"], 2);
  }
}

TEST_F(WritesTest, ScaleShowsTheSelectorAndCountsTheGeneration) {
  ASSERT_TRUE(g.create("deployments", "default", TestGateway::deployment("web", 2)).ok());
  const Json scale = model::to_tree(g.get("deployments", "default", "web", "scale")->object);
  EXPECT_EQ(scale["status"]["selector"], "app=web");
  EXPECT_EQ(scale["spec"]["replicas"], 2);
  ASSERT_TRUE(g.patch("deployments", "default", "web", {{"spec", {{"replicas", 4}}}}, "scale").ok());
  EXPECT_EQ(g.stored("deployments", "default", "web")["metadata"]["generation"], 2);
  EXPECT_EQ(g.patch("deployments", "default", "web", {{"spec", {{"replicas", -1}}}}, "scale").code(), Code::kInvalid);
}

// 500 creates through two gateways, both losing their connection to the store in the middle: every name, address and
// port is given once.
TEST_F(WritesTest, RacingCreatesThroughTwoGatewaysShareNothing) {
  const auto other = g.another();
  size_t answered = 0, good = 0;
  const size_t n = 500;
  size_t commits = 0;
  g.store.set_commit_fault([&](const state::Commit&) {
    using Fault = state::testing::MemoryStore::Fault;
    ++commits;
    return commits > 200 && commits < 260 ? (commits % 2 == 0 ? Fault::kUnavailable : Fault::kLostAfter) : Fault::kNone;
  });
  for (size_t i = 0; i < n; ++i) {
    // Each name twice, once through each gateway; few enough ports that they are fought for.
    Json service = TestGateway::service("s" + std::to_string(i / 2), "NodePort");
    if (i % 10 < 2) service["spec"]["ports"][0]["nodePort"] = 30000 + static_cast<int>(i / 20);
    (i % 2 == 0 ? *g.api : *other)
        .handle(g.admin,
                {.id = "r" + std::to_string(i),
                 .verb = bus::Verb::Create,
                 .resource = "services",
                 .ns = "default",
                 .json = service.dump()},
                [&](Result<Answer> answer) {
                  ++answered;
                  good += answer.ok() ? 1 : 0;
                });
    if (i % 7 == 0) g.loop.advance(std::chrono::milliseconds(1));
  }
  ASSERT_TRUE(g.loop.run_until([&] { return answered == n; }, std::chrono::seconds(60)));
  const auto list = g.list("services", "default");
  ASSERT_TRUE(list.ok());
  std::set<std::string> names, ips;
  std::set<int> ports;
  for (const auto& item : list->items) {
    const Json service = model::to_tree(item);
    EXPECT_TRUE(names.insert(service["metadata"]["name"]).second);
    EXPECT_TRUE(ips.insert(service["spec"]["clusterIP"]).second) << service["spec"]["clusterIP"];
    for (const auto& port : service["spec"]["ports"]) {
      if (port.contains("nodePort")) {
        EXPECT_TRUE(ports.insert(port["nodePort"].get<int>()).second) << port;
      }
    }
  }
  EXPECT_LE(names.size(), 251u);  // with the kubernetes Service
  EXPECT_GE(names.size(), good);
  EXPECT_GT(good, 100u);
}

}  // namespace
}  // namespace gantry::apigw::testing
