// What readers see: lists and their pages, watches, snapshots and replays.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "schemas/bus_generated.h"
#include "services/apigw/core/testing/test_gateway.h"

namespace gantry::apigw::testing {
namespace {

using Json = nlohmann::json;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Names = std::vector<std::string>;

Names names(const Answer& answer) {
  Names out;
  for (const auto& item : answer.items) out.emplace_back(item.name());
  return out;
}

class ListsTest : public ::testing::Test {
 protected:
  void pods(std::initializer_list<const char*> list, const char* app = "web") {
    for (const char* name : list) {
      Json pod = TestGateway::pod(name);
      pod["metadata"]["labels"]["app"] = app;
      ASSERT_TRUE(g.create("pods", "default", pod).ok());
    }
  }
  Result<Answer> page(uint32_t limit, const std::string& token = "") {
    return g.call(
        {.verb = bus::Verb::List, .resource = "pods", .ns = "default", .limit = limit, .continue_token = token});
  }
  TestGateway g;
};

TEST_F(ListsTest, SelectorsNarrow) {
  pods({"a", "b"});
  pods({"c"}, "db");
  ASSERT_TRUE(g.bind("default", "b", "n1").ok());
  EXPECT_THAT(names(*g.list("pods")), ElementsAre("a", "b", "c"));
  EXPECT_THAT(names(*g.list("pods", "default", "app=web")), ElementsAre("a", "b"));
  EXPECT_THAT(names(*g.list("pods", "", "", "spec.nodeName=n1")), ElementsAre("b"));
  EXPECT_THAT(names(*g.list("pods", "default", "", "metadata.name=c")), ElementsAre("c"));
  EXPECT_THAT(names(*g.list("pods", "other")), IsEmpty());
  EXPECT_EQ(g.list("pods", "", "", "spec.bogus=1").code(), Code::kBadRequest);
  EXPECT_EQ(g.list("pods", "", "a==,").code(), Code::kBadRequest);
}

TEST_F(ListsTest, AKindThatNeverHadAnObjectIsAtARevision) {
  const auto empty = g.list("podtemplates");
  ASSERT_TRUE(empty.ok());
  ASSERT_GT(empty->revision, 0u);
  TestWatch from(g, {.resource = "podtemplates", .revision = empty->revision});
  const Json made_of{{"metadata", {{"name", "web"}}}, {"template", {{"spec", TestGateway::pod("p")["spec"]}}}};
  const auto made = g.create("podtemplates", "default", made_of);
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_GT(made->revision, empty->revision);
  EXPECT_THAT(from.take(), ElementsAre("BOOKMARK", "ADDED default/web"));
  const auto then = g.call(
      {.verb = bus::Verb::List, .resource = "podtemplates", .revision = empty->revision, .match = bus::Match::kExact});
  ASSERT_TRUE(then.ok()) << then.error().message;
  EXPECT_THAT(names(*then), IsEmpty());
  // The first change after an empty epoch is no gap either.
  const auto none = g.list("cronjobs")->revision;
  g.store.crash(1);
  EXPECT_EQ(g.list("cronjobs")->revision, none);
}

TEST_F(ListsTest, PagesStayAtTheirRevision) {
  pods({"a", "b", "c", "d"});
  const auto first = page(2);
  ASSERT_TRUE(first.ok());
  EXPECT_THAT(names(*first), ElementsAre("a", "b"));
  EXPECT_EQ(first->remaining, 2);
  ASSERT_TRUE(g.remove("pods", "default", "c").ok());
  pods({"bb", "e"});
  const auto second = page(2, first->continue_token);
  ASSERT_TRUE(second.ok());
  EXPECT_THAT(names(*second), ElementsAre("c", "d"));
  EXPECT_EQ(second->revision, first->revision);
  EXPECT_TRUE(second->continue_token.empty());
  EXPECT_THAT(names(*page(0)), ElementsAre("a", "b", "bb", "d", "e"));
}

TEST_F(ListsTest, APageFromTooLongAgoOffersToGoOnInconsistently) {
  TestGateway small(ApiConfig{.window = 2});
  const auto make = [&](const char* name) {
    ASSERT_TRUE(small.create("pods", "default", TestGateway::pod(name)).ok());
  };
  for (const char* name : {"a", "b", "c"}) make(name);
  const auto list = [&](const std::string& token) {
    return small.call(
        {.verb = bus::Verb::List, .resource = "pods", .ns = "default", .limit = 1, .continue_token = token});
  };
  const auto first = list("");
  for (const char* name : {"d", "e", "f"}) make(name);
  const auto expired = list(first->continue_token);
  ASSERT_EQ(expired.code(), Code::kExpired);
  ASSERT_EQ(expired.error().causes.size(), 1);
  EXPECT_THAT(names(*list(expired.error().causes[0].message)), ElementsAre("b"));
}

TEST_F(ListsTest, ARevisionOfTheFutureIsTooLarge) {
  const auto answer = g.call({.verb = bus::Verb::List, .resource = "pods", .revision = uint64_t{9} << 40});
  ASSERT_EQ(answer.code(), Code::kTooLargeRevision);
  EXPECT_EQ(answer.error().causes[0].reason, "ResourceVersionTooLarge");
}

TEST_F(ListsTest, AWatchTellsWhatIsAndWhatChanges) {
  pods({"a"});
  TestWatch watch(g, {.resource = "pods", .ns = "default"});
  EXPECT_THAT(watch.take(), ElementsAre("ADDED default/a", "BOOKMARK"));
  pods({"b"});
  ASSERT_TRUE(g.bind("default", "b", "n1").ok());
  ASSERT_TRUE(g.remove("pods", "default", "a").ok());
  EXPECT_THAT(watch.take(), ElementsAre("ADDED default/b", "MODIFIED default/b", "DELETED default/a"));
}

TEST_F(ListsTest, ASelectorTurnsChangesIntoArrivalsAndDepartures) {
  pods({"a"});
  TestWatch watch(g, {.resource = "pods", .label_selector = "app=web"});
  watch.take();
  ASSERT_TRUE(g.patch("pods", "default", "a", {{"metadata", {{"labels", {{"app", "db"}}}}}}).ok());
  EXPECT_THAT(watch.take(), ElementsAre("DELETED default/a"));
  ASSERT_TRUE(g.patch("pods", "default", "a", {{"metadata", {{"labels", {{"app", "web"}}}}}}).ok());
  EXPECT_THAT(watch.take(), ElementsAre("ADDED default/a"));
}

TEST_F(ListsTest, AWatchGoesOnAfterARevision) {
  pods({"a", "b"});
  const uint64_t revision = g.list("pods")->revision;
  pods({"c"});
  TestWatch watch(g, {.resource = "pods", .revision = revision});
  EXPECT_THAT(watch.take(), ElementsAre("BOOKMARK", "ADDED default/c"));
  TestWatch future(g, {.resource = "pods", .revision = revision + 1000});
  EXPECT_THAT(future.take(), ElementsAre("ERROR Timeout"));
  TestWatch nothing(g, {.resource = "gadgets"});
  EXPECT_THAT(nothing.take(), ElementsAre("ERROR NotFound"));
}

TEST_F(ListsTest, AWatcherThatDoesNotReadWaitsAndThenExpires) {
  TestGateway small(ApiConfig{.window = 4});
  TestWatch watch(small, {.resource = "configmaps"});
  watch.take();
  const auto make = [&](int i) {
    ASSERT_TRUE(small.create("configmaps", "default", {{"metadata", {{"name", fmt::format("c{}", i)}}}}).ok());
  };
  watch.pause();
  for (int i = 0; i < 3; ++i) make(i);
  EXPECT_EQ(watch.take().size(), 1) << "the one that it answered with a pause";
  watch.resume();
  EXPECT_THAT(watch.take(), ElementsAre("ADDED default/c1", "ADDED default/c2"));
  watch.pause();
  for (int i = 3; i < 10; ++i) make(i);
  watch.take();
  watch.resume();
  EXPECT_THAT(watch.take(), ElementsAre("ERROR Expired"));
  TestWatch late(small, {.resource = "configmaps", .revision = 1});
  EXPECT_THAT(late.take(), ElementsAre("ERROR Expired"));
}

TEST_F(ListsTest, BookmarksComeWhileTheRevisionMoves) {
  TestWatch watch(g, {.resource = "pods"});
  EXPECT_THAT(watch.take(), ElementsAre("BOOKMARK"));
  pods({"a"});
  watch.take();
  g.loop.advance(std::chrono::seconds(61));
  EXPECT_THAT(watch.take(), ElementsAre("BOOKMARK"));
  g.loop.advance(std::chrono::seconds(61));
  EXPECT_THAT(watch.take(), IsEmpty());
}

TEST_F(ListsTest, AStoreThatLostItsTailIsReadAnew) {
  TestGateway lossy;
  lossy.store.set_replica_lag(1);
  ASSERT_TRUE(lossy.create("configmaps", "default", {{"metadata", {{"name", "kept"}}}}).ok());
  ASSERT_TRUE(lossy.create("configmaps", "default", {{"metadata", {{"name", "lost"}}}}).ok());
  lossy.store.promote_replica();
  EXPECT_THAT(names(*lossy.list("configmaps")), ElementsAre("kept"));
  ASSERT_TRUE(lossy.create("configmaps", "default", {{"metadata", {{"name", "new"}}}}).ok());
  EXPECT_THAT(names(*lossy.list("configmaps")), ElementsAre("kept", "new"));
}

class ChainsTest : public ListsTest {
 protected:
  static Names told(const Answer& answer) {
    static constexpr const char* kTypes[] = {"Put", "Delete", "Left", "Dependency"};
    Names out;
    for (const auto& bytes : answer.events) {
      const auto* event = flatbuffers::GetRoot<bus::Event>(bytes.data());
      out.push_back(fmt::format("{} {}", kTypes[static_cast<int>(event->type())], model::str(event->name())));
    }
    return out;
  }
  Result<Answer> read(bus::Verb verb, const std::string& resource, const std::string& node, uint64_t revision = 0,
                      const std::string& as = "admin") {
    const Identity identity = identity_of_bus(as);
    return g.call({.verb = verb, .resource = resource, .revision = revision, .node = node}, &identity);
  }
};

TEST_F(ChainsTest, ANodesChainHasItsPodsAndWhatTheyReferTo) {
  Json pod = TestGateway::pod("a");
  pod["spec"]["volumes"] = {{{"name", "v"}, {"configMap", {{"name", "settings"}}}}};
  ASSERT_TRUE(g.create("pods", "default", pod).ok());
  pods({"b"});
  ASSERT_TRUE(g.create("configmaps", "default", {{"metadata", {{"name", "settings"}}}}).ok());
  ASSERT_TRUE(g.bind("default", "a", "n1").ok());
  const auto snapshot = read(bus::Verb::Snapshot, "pods", "n1");
  EXPECT_THAT(names(*snapshot), ElementsAre("a"));
  EXPECT_THAT(names(*read(bus::Verb::Snapshot, "pods", "_")), ElementsAre("b"));
  EXPECT_THAT(names(*read(bus::Verb::Snapshot, "configmaps", "n1")), ElementsAre("settings"));
  EXPECT_THAT(told(*read(bus::Verb::Replay, "pods", "_")), ElementsAre("Put a", "Put b", "Left a"));
  ASSERT_TRUE(g.patch("configmaps", "default", "settings", {{"data", {{"k", "v"}}}}).ok());
  EXPECT_THAT(told(*read(bus::Verb::Replay, "configmaps", "n1")), ElementsAre("Dependency settings"));
  // After its snapshot, another node's pods do not concern it: the head of its chain stays.
  ASSERT_TRUE(g.bind("default", "b", "n2").ok());
  const auto replay = read(bus::Verb::Replay, "pods", "n1", snapshot->head);
  EXPECT_THAT(told(*replay), IsEmpty());
  EXPECT_EQ(replay->head, snapshot->head);
}

TEST_F(ChainsTest, AnEventNamesWhatSelectorsSawBefore) {
  pods({"a"});
  const uint64_t before = g.list("pods")->revision;
  ASSERT_TRUE(g.patch("pods", "default", "a", {{"metadata", {{"labels", {{"app", "db"}}}}}}).ok());
  ASSERT_TRUE(g.bind("default", "a", "n1").ok());
  const auto replay = g.call({.verb = bus::Verb::Replay, .resource = "pods", .revision = before});
  ASSERT_EQ(replay->events.size(), 2);
  const auto* relabelled = flatbuffers::GetRoot<bus::Event>(replay->events[0].data());
  EXPECT_EQ(relabelled->old_labels()->Get(0)->value()->str(), "web");
  EXPECT_EQ(relabelled->cause()->verb()->str(), "patch");
  EXPECT_EQ(relabelled->cause()->identity()->str(), "kubernetes-admin");
  const auto* bound = flatbuffers::GetRoot<bus::Event>(replay->events[1].data());
  EXPECT_EQ(bound->old_labels(), nullptr);
  EXPECT_EQ(bound->old_fields()->Get(0)->key()->str(), "spec.nodeName");
  EXPECT_EQ(bound->node()->str(), "n1");
  EXPECT_EQ(bound->previous(), relabelled->revision());
  EXPECT_EQ(bound->cause()->verb()->str(), "bind");
}

TEST_F(ChainsTest, PagesOfASnapshotAndAReplayFollowOneAnother) {
  pods({"a", "b", "c"});
  const auto first = g.call({.verb = bus::Verb::Snapshot, .resource = "pods", .limit = 2});
  EXPECT_THAT(names(*first), ElementsAre("a", "b"));
  const auto second =
      g.call({.verb = bus::Verb::Snapshot, .resource = "pods", .limit = 2, .continue_token = first->continue_token});
  EXPECT_THAT(names(*second), ElementsAre("c"));
  EXPECT_TRUE(second->continue_token.empty());
  const auto events = g.call({.verb = bus::Verb::Replay, .resource = "pods", .limit = 2});
  EXPECT_THAT(told(*events), ElementsAre("Put a", "Put b"));
  const auto rest =
      g.call({.verb = bus::Verb::Replay, .resource = "pods", .limit = 2, .continue_token = events->continue_token});
  EXPECT_THAT(told(*rest), ElementsAre("Put c"));
  EXPECT_EQ(rest->head, first->head);
}

TEST_F(ChainsTest, ASnapshotOfSecretsHasNoContent) {
  ASSERT_TRUE(g.create("secrets", "default", {{"metadata", {{"name", "s"}}}, {"stringData", {{"p", "hunter2"}}}}).ok());
  const auto snapshot = read(bus::Verb::Snapshot, "secrets", "", 0, "controllers");
  ASSERT_TRUE(snapshot.ok()) << snapshot.error().message;
  ASSERT_EQ(snapshot->items.size(), 1);
  EXPECT_EQ(snapshot->items[0].bytes().find("hunter2"), std::string::npos);
}

}  // namespace
}  // namespace gantry::apigw::testing
