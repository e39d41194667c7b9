// What becomes of one object: create, update, patch, status, scale, bind, delete.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/model/json.h"
#include "services/apigw/core/testing/test_gateway.h"

namespace gantry::apigw::testing {
namespace {

using Json = nlohmann::json;
using ::testing::HasSubstr;

class ObjectsTest : public ::testing::Test {
 protected:
  TestGateway g;
};

TEST_F(ObjectsTest, ANewPodIsDefaultedAndPending) {
  const auto answer = g.create("pods", "default", TestGateway::pod("web"));
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(answer->outcome, Answer::Outcome::kCreated);
  const Json pod = g.stored("pods", "default", "web");
  EXPECT_EQ(pod["status"]["phase"], "Pending");
  EXPECT_EQ(pod["metadata"]["generation"], 1);
  EXPECT_EQ(pod["metadata"]["namespace"], "default");
  EXPECT_EQ(pod["metadata"]["resourceVersion"], std::to_string(answer->revision));
  EXPECT_EQ(pod["metadata"]["uid"], answer->object.uid());
  EXPECT_EQ(pod["spec"]["restartPolicy"], "Always");
  EXPECT_EQ(pod["spec"]["terminationGracePeriodSeconds"], 30);
  EXPECT_EQ(pod["spec"]["serviceAccountName"], "default");
  EXPECT_EQ(pod["spec"]["containers"][0]["imagePullPolicy"], "IfNotPresent");
  EXPECT_EQ(pod["spec"]["tolerations"].size(), 2);
}

TEST_F(ObjectsTest, ANameIsTakenOnce) {
  ASSERT_TRUE(g.create("pods", "default", TestGateway::pod("web")).ok());
  const auto again = g.create("pods", "default", TestGateway::pod("web"));
  ASSERT_EQ(again.code(), Code::kAlreadyExists);
  EXPECT_EQ(again.error().message, "pods \"web\" already exists");
}

TEST_F(ObjectsTest, ARepeatedCommandGetsTheFirstOutcome) {
  bus::Command command{.id = "c1",
                       .verb = bus::Verb::Create,
                       .resource = "pods",
                       .ns = "default",
                       .json = TestGateway::pod("web").dump()};
  const auto first = g.call(command), second = g.call(command);
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->object.uid(), second->object.uid());
  EXPECT_EQ(first->revision, second->revision);
  EXPECT_TRUE(second->duplicate);
  bus::Command remove{.id = "c2", .verb = bus::Verb::Delete, .resource = "pods", .ns = "default", .name = "web"};
  ASSERT_TRUE(g.call(remove).ok());
  const auto repeated = g.call(remove);
  ASSERT_TRUE(repeated.ok()) << repeated.error().message;
  EXPECT_EQ(repeated->outcome, Answer::Outcome::kDeleted);
  remove.id = "c3";
  EXPECT_EQ(g.call(remove).code(), Code::kNotFound);
}

TEST_F(ObjectsTest, ARepeatIsNotRefusedWhileTheStoreCannotTellWhatBecameOfTheFirst) {
  ASSERT_TRUE(g.create("pods", "default", TestGateway::pod("web")).ok());
  bus::Command remove{.id = "c1", .verb = bus::Verb::Delete, .resource = "pods", .ns = "default", .name = "web"};
  ASSERT_TRUE(g.call(remove).ok());
  g.store.set_commit_fault([](const state::Commit&) { return state::testing::MemoryStore::Fault::kUnavailable; });
  EXPECT_EQ(g.call(remove).code(), Code::kUnknownOutcome);
  g.store.set_commit_fault(nullptr);
  EXPECT_TRUE(g.call(remove).ok());
}

TEST_F(ObjectsTest, GeneratedNamesDiffer) {
  Json pod = TestGateway::pod("");
  pod["metadata"].erase("name");
  pod["metadata"]["generateName"] = "web-";
  const auto a = g.create("pods", "default", pod), b = g.create("pods", "default", pod);
  ASSERT_TRUE(a.ok() && b.ok());
  EXPECT_TRUE(a->object.name().starts_with("web-"));
  EXPECT_NE(a->object.name(), b->object.name());
}

TEST_F(ObjectsTest, AnUpdateOfAnOldVersionConflicts) {
  ASSERT_TRUE(g.create("deployments", "default", TestGateway::deployment("web")).ok());
  Json mine = g.stored("deployments", "default", "web");
  ASSERT_TRUE(g.patch("deployments", "default", "web", {{"spec", {{"replicas", 3}}}}).ok());
  mine["spec"]["replicas"] = 5;
  const auto answer = g.update("deployments", "default", mine);
  ASSERT_EQ(answer.code(), Code::kConflict);
  EXPECT_EQ(answer.error().message,
            "Operation cannot be fulfilled on deployments.apps \"web\": the object has been modified; please apply "
            "your changes to the latest "
            "version and try again");
  mine["metadata"].erase("resourceVersion");
  ASSERT_TRUE(g.update("deployments", "default", mine).ok());
  EXPECT_EQ(g.stored("deployments", "default", "web")["spec"]["replicas"], 5);
}

TEST_F(ObjectsTest, APatchKeepsItsPreconditions) {
  const auto made = g.create("configmaps", "default", {{"metadata", {{"name", "c"}}}});
  bus::Command patch{.verb = bus::Verb::Patch,
                     .resource = "configmaps",
                     .ns = "default",
                     .name = "c",
                     .json = R"({"data":{"k":"v"}})"};
  patch.uid = "another";
  EXPECT_EQ(g.call(patch).code(), Code::kConflict);
  patch.uid = made->object.uid();
  patch.revision = made->revision + 1;
  EXPECT_EQ(g.call(patch).code(), Code::kConflict);
  patch.revision = made->revision;
  EXPECT_TRUE(g.call(patch).ok());
}

TEST_F(ObjectsTest, TheGenerationCountsChangesOfTheSpecOnly) {
  ASSERT_TRUE(g.create("deployments", "default", TestGateway::deployment("web")).ok());
  ASSERT_TRUE(g.patch("deployments", "default", "web", {{"metadata", {{"labels", {{"a", "b"}}}}}}).ok());
  EXPECT_EQ(g.stored("deployments", "default", "web")["metadata"]["generation"], 1);
  ASSERT_TRUE(g.patch("deployments", "default", "web", {{"spec", {{"replicas", 2}}}}).ok());
  EXPECT_EQ(g.stored("deployments", "default", "web")["metadata"]["generation"], 2);
  ASSERT_TRUE(g.patch("deployments", "default", "web", {{"status", {{"replicas", 2}}}}, "status").ok());
  const Json after = g.stored("deployments", "default", "web");
  EXPECT_EQ(after["metadata"]["generation"], 2);
  EXPECT_EQ(after["status"]["replicas"], 2);
}

TEST_F(ObjectsTest, SpecAndStatusHaveTheirOwnWriters) {
  ASSERT_TRUE(g.create("deployments", "default", TestGateway::deployment("web")).ok());
  Json both = g.stored("deployments", "default", "web");
  both["status"]["replicas"] = 7;
  both["spec"]["replicas"] = 4;
  both["metadata"].erase("resourceVersion");
  ASSERT_TRUE(g.update("deployments", "default", both).ok());
  EXPECT_FALSE(g.stored("deployments", "default", "web")["status"].contains("replicas"));
  both["spec"]["replicas"] = 9;
  ASSERT_TRUE(g.update("deployments", "default", both, "status").ok());
  const Json after = g.stored("deployments", "default", "web");
  EXPECT_EQ(after["status"]["replicas"], 7);
  EXPECT_EQ(after["spec"]["replicas"], 4);
}

TEST_F(ObjectsTest, NothingChangedIsNoRevision) {
  const auto created = g.create("configmaps", "default", {{"metadata", {{"name", "c"}}}, {"data", {{"k", "v"}}}});
  ASSERT_TRUE(created.ok());
  const auto same = g.patch("configmaps", "default", "c", {{"data", {{"k", "v"}}}});
  ASSERT_TRUE(same.ok());
  EXPECT_EQ(same->revision, created->revision);
}

TEST_F(ObjectsTest, ScaleIsAViewOfReplicas) {
  ASSERT_TRUE(g.create("deployments", "default", TestGateway::deployment("web", 2)).ok());
  const auto scale = g.get("deployments", "default", "web", "scale");
  ASSERT_TRUE(scale.ok()) << scale.error().message;
  EXPECT_EQ(model::to_tree(scale->object)["spec"]["replicas"], 2);
  EXPECT_EQ(model::to_tree(scale->object)["status"]["selector"], "app=web");
  const auto scaled = g.patch("deployments", "default", "web", {{"spec", {{"replicas", 5}}}}, "scale");
  ASSERT_TRUE(scaled.ok()) << scaled.error().message;
  EXPECT_EQ(scaled->kind->kind, "Scale");
  const Json after = g.stored("deployments", "default", "web");
  EXPECT_EQ(after["spec"]["replicas"], 5);
  EXPECT_EQ(after["metadata"]["generation"], 2);
}

TEST_F(ObjectsTest, APodIsBoundOnce) {
  ASSERT_TRUE(g.create("pods", "default", TestGateway::pod("web")).ok());
  ASSERT_TRUE(g.bind("default", "web", "n1").ok());
  const Json pod = g.stored("pods", "default", "web");
  EXPECT_EQ(pod["spec"]["nodeName"], "n1");
  EXPECT_EQ(pod["status"]["conditions"][0]["type"], "PodScheduled");
  EXPECT_EQ(pod["status"]["conditions"][0]["status"], "True");
  EXPECT_TRUE(g.bind("default", "web", "n1").ok());
  const auto other = g.bind("default", "web", "n2");
  ASSERT_EQ(other.code(), Code::kConflict);
  EXPECT_THAT(other.error().message, HasSubstr("pod web is already assigned to node \"n1\""));
  EXPECT_EQ(g.bind("default", "none", "n1").code(), Code::kNotFound);
}

TEST_F(ObjectsTest, TheBindingObjectBindsToo) {
  ASSERT_TRUE(g.create("pods", "default", TestGateway::pod("web")).ok());
  const Json binding{{"metadata", {{"name", "web"}}}, {"target", {{"kind", "Node"}, {"name", "n3"}}}};
  const auto answer = g.call({.verb = bus::Verb::Create,
                              .resource = "pods",
                              .subresource = "binding",
                              .ns = "default",
                              .name = "web",
                              .json = binding.dump()});
  ASSERT_TRUE(answer.ok()) << answer.error().message;
  EXPECT_EQ(g.stored("pods", "default", "web")["spec"]["nodeName"], "n3");
}

TEST_F(ObjectsTest, ABindingPostedByItselfNamesThePod) {
  ASSERT_TRUE(g.create("pods", "default", TestGateway::pod("web")).ok());
  const auto post = [&](const char* kind) {
    const Json binding{{"metadata", {{"name", "web"}}}, {"target", {{"kind", kind}, {"name", "n3"}}}};
    return g.call({.verb = bus::Verb::Create, .resource = "bindings", .ns = "default", .json = binding.dump()});
  };
  EXPECT_EQ(post("Cloud").error().message,
            "Binding \"web\" is invalid: target.kind: Unsupported value: \"Cloud\": supported values: \"<empty>\", "
            "\"Node\"");
  ASSERT_TRUE(post("Node").ok());
  EXPECT_EQ(g.stored("pods", "default", "web")["spec"]["nodeName"], "n3");
}

TEST_F(ObjectsTest, AnUnboundPodGoesAtOnceABoundOneWhenItsNodeSaysSo) {
  ASSERT_TRUE(g.create("pods", "default", TestGateway::pod("a")).ok());
  EXPECT_EQ(g.remove("pods", "default", "a")->outcome, Answer::Outcome::kDeleted);
  const auto b = g.create("pods", "default", TestGateway::pod("b"));
  ASSERT_TRUE(g.bind("default", "b", "n1").ok());
  const auto asked = g.remove("pods", "default", "b");
  ASSERT_TRUE(asked.ok());
  EXPECT_EQ(asked->outcome, Answer::Outcome::kObject);
  const Json pod = g.stored("pods", "default", "b");
  EXPECT_EQ(pod["metadata"]["deletionGracePeriodSeconds"], 30);
  EXPECT_EQ(pod["metadata"]["generation"], 2);
  EXPECT_EQ(g.remove("pods", "default", "b")->revision, asked->revision);
  EXPECT_EQ(g.bind("default", "b", "n1").ok(), false);
  bus::Command confirm{.verb = bus::Verb::Delete,
                       .resource = "pods",
                       .ns = "default",
                       .name = "b",
                       .uid = "another",
                       .grace_period_seconds = 0};
  const Identity node = identity_of_bus("node-n1");
  EXPECT_EQ(g.call(confirm, &node).code(), Code::kConflict);
  confirm.uid = b->object.uid();
  EXPECT_EQ(g.call(confirm, &node)->outcome, Answer::Outcome::kDeleted);
  EXPECT_TRUE(g.stored("pods", "default", "b").is_null());
}

TEST_F(ObjectsTest, FinalizersHoldAnObject) {
  ASSERT_TRUE(
      g.create("configmaps", "default", {{"metadata", {{"name", "c"}, {"finalizers", {"example.com/hold"}}}}}).ok());
  EXPECT_EQ(g.remove("configmaps", "default", "c")->outcome, Answer::Outcome::kObject);
  Json held = g.stored("configmaps", "default", "c");
  EXPECT_TRUE(held["metadata"].contains("deletionTimestamp"));
  held["metadata"]["finalizers"].push_back("example.com/more");
  const auto more = g.update("configmaps", "default", held);
  ASSERT_EQ(more.code(), Code::kInvalid);
  EXPECT_THAT(more.error().message, HasSubstr("no new finalizers can be added if the object is being deleted"));
  const auto gone = g.patch("configmaps", "default", "c", {{"metadata", {{"finalizers", nullptr}}}});
  ASSERT_TRUE(gone.ok());
  EXPECT_EQ(gone->outcome, Answer::Outcome::kDeleted);
  EXPECT_TRUE(g.stored("configmaps", "default", "c").is_null());
}

TEST_F(ObjectsTest, PropagationIsAFinalizerForTheGarbageCollector) {
  ASSERT_TRUE(g.create("deployments", "default", TestGateway::deployment("web")).ok());
  bus::Command command{.verb = bus::Verb::Delete,
                       .resource = "deployments",
                       .ns = "default",
                       .name = "web",
                       .propagation = "Foreground"};
  EXPECT_EQ(g.call(command)->outcome, Answer::Outcome::kObject);
  EXPECT_EQ(g.stored("deployments", "default", "web")["metadata"]["finalizers"], Json::array({"foregroundDeletion"}));
  command.propagation = "Background";
  EXPECT_EQ(g.call(command)->outcome, Answer::Outcome::kDeleted);
}

TEST_F(ObjectsTest, ANodesReportsAreOrdered) {
  ASSERT_TRUE(g.create("pods", "default", TestGateway::pod("web")).ok());
  ASSERT_TRUE(g.bind("default", "web", "n1").ok());
  const Identity node = identity_of_bus("node-n1");
  const auto report = [&](const char* phase, uint64_t number) {
    const Json body{{"metadata", {{"name", "web"}}}, {"status", {{"phase", phase}}}};
    return g.call({.verb = bus::Verb::Update,
                   .resource = "pods",
                   .subresource = "status",
                   .ns = "default",
                   .name = "web",
                   .json = body.dump(),
                   .sequence_epoch = 1,
                   .sequence_number = number},
                  &node);
  };
  ASSERT_TRUE(report("Running", 2).ok());
  EXPECT_EQ(report("Pending", 1).code(), Code::kForbidden);
  const Json pod = g.stored("pods", "default", "web");
  EXPECT_EQ(pod["status"]["phase"], "Running");
  EXPECT_EQ(pod["status"]["conditions"][0]["type"], "PodScheduled") << "what others reported stays";
  EXPECT_TRUE(report("Running", 4).ok());
  EXPECT_EQ(report("Failed", 3).code(), Code::kForbidden) << "an unchanged report counts too";
}

TEST_F(ObjectsTest, WritersThatMeetAllGetThrough) {
  ASSERT_TRUE(g.create("configmaps", "default", {{"metadata", {{"name", "c"}}}}).ok());
  auto second = g.another();
  int done = 0;
  for (int i = 0; i < 6; ++i) {
    const Json body{{"data", {{fmt::format("k{}", i), "v"}}}};
    (i % 2 == 0 ? *g.api : *second)
        .handle(g.admin,
                {.verb = bus::Verb::Patch, .resource = "configmaps", .ns = "default", .name = "c", .json = body.dump()},
                [&](Result<Answer> answer) { done += answer.ok() ? 1 : 0; });
  }
  g.loop.drain();
  EXPECT_EQ(done, 6);
  EXPECT_EQ(g.stored("configmaps", "default", "c")["data"].size(), 6);
}

TEST_F(ObjectsTest, AReadSeesWhatAnotherGatewayHasCommitted) {
  auto second = g.another();
  ASSERT_TRUE(g.create("configmaps", "default", {{"metadata", {{"name", "c"}}}}).ok());
  EXPECT_TRUE(
      g.call({.verb = bus::Verb::Get, .resource = "configmaps", .ns = "default", .name = "c"}, nullptr, second.get())
          .ok());
}

TEST_F(ObjectsTest, ADryRunChangesNothing) {
  const auto answer = g.call({.verb = bus::Verb::Create,
                              .resource = "pods",
                              .ns = "default",
                              .json = TestGateway::pod("web").dump(),
                              .dry_run = true});
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->outcome, Answer::Outcome::kCreated);
  EXPECT_TRUE(g.stored("pods", "default", "web").is_null());
}

TEST_F(ObjectsTest, DeleteCollectionTakesWhatMatches) {
  for (const char* name : {"a", "b", "c"}) {
    Json pod = TestGateway::pod(name);
    if (name[0] == 'c') pod["metadata"]["labels"]["app"] = "other";
    ASSERT_TRUE(g.create("pods", "default", pod).ok());
  }
  const auto answer =
      g.call({.verb = bus::Verb::DeleteCollection, .resource = "pods", .ns = "default", .label_selector = "app=web"});
  ASSERT_TRUE(answer.ok());
  EXPECT_EQ(answer->items.size(), 2);
  EXPECT_EQ(g.list("pods", "default")->items.size(), 1);
}

TEST_F(ObjectsTest, SecretsHideTheirContentInEvents) {
  const Json secret{{"metadata", {{"name", "s"}, {"annotations", {{"note", "hidden"}}}}},
                    {"stringData", {{"password", "hunter2"}}}};
  ASSERT_TRUE(g.create("secrets", "default", secret).ok());
  EXPECT_EQ(g.stored("secrets", "default", "s")["data"]["password"], "aHVudGVyMg==");
  const auto replay = g.call({.verb = bus::Verb::Replay, .resource = "secrets"});
  ASSERT_TRUE(replay.ok()) << replay.error().message;
  ASSERT_EQ(replay->events.size(), 1);
  EXPECT_EQ(replay->events[0].find("hunter2"), std::string::npos);
  EXPECT_EQ(replay->events[0].find("hidden"), std::string::npos);
}

}  // namespace
}  // namespace gantry::apigw::testing
