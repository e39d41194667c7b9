#include "services/apigw/commands/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "libs/bus/events.h"
#include "libs/bus/testing/fake_bus.h"
#include "services/apigw/commands/csi_relay.h"
#include "services/apigw/commands/history.h"
#include "services/apigw/core/testing/test_gateway.h"
#include "services/apigw/relay/relay.h"

namespace gantry::apigw::testing {
namespace {

using Json = nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

class CommandsTest : public ::testing::Test {
 protected:
  Result<bus::CommandOutcome> send(const std::string& identity, bus::Command command) {
    auto connection = network.connect(identity, bus::permissions_for(identity));
    auto client = bus::make_command_client(g.loop, *connection, identity);
    std::optional<Result<bus::CommandOutcome>> outcome;
    client->send(std::move(command), [&](Result<bus::CommandOutcome> o) { outcome.emplace(std::move(o)); });
    g.loop.run_until([&] { return outcome.has_value(); }, std::chrono::seconds(20));
    return outcome ? std::move(*outcome) : Result<bus::CommandOutcome>(Error{Code::kInternal, "no answer"});
  }

  TestGateway g;
  gantry::testing::FakeNetwork network{g.loop};
  std::unique_ptr<gantry::testing::FakeBus> gateway = network.connect("apigw");
  std::shared_ptr<bus::CommandServer> server = bus::make_command_server(
      g.loop, *gateway,
      with_history(g.loop, *gateway, *g.api, "S", with_csi(*gateway, command_handler(g.loop, *g.api))));
};

TEST_F(CommandsTest, TheSubjectSaysWhoAsks) {
  EXPECT_THAT(send("node-n1", {.verb = bus::Verb::Whoami})->json, HasSubstr("\"username\":\"system:node:n1\""));
  const auto denied = send("node-n1", {.verb = bus::Verb::List, .resource = "pods"});
  ASSERT_EQ(denied.code(), Code::kForbidden);
  EXPECT_EQ(denied.error().message,
            "pods is forbidden: User \"system:node:n1\" cannot list resource \"pods\" in API group \"\" at the cluster "
            "scope");
}

TEST_F(CommandsTest, ObjectsComeInTheFormAskedFor) {
  const auto created =
      send("admin",
           {.verb = bus::Verb::Create, .resource = "pods", .ns = "default", .json = TestGateway::pod("web").dump()});
  ASSERT_TRUE(created.ok()) << created.error().message;
  EXPECT_FALSE(created->object.empty());
  EXPECT_FALSE(created->uid.empty());
  bus::Command get{.verb = bus::Verb::Get, .resource = "pods", .ns = "default", .name = "web", .as_json = true};
  EXPECT_EQ(Json::parse(send("admin", get)->json)["metadata"]["resourceVersion"], std::to_string(created->revision));
  bus::Command list{.verb = bus::Verb::List, .resource = "pods", .ns = "default", .as_table = true};
  EXPECT_EQ(Json::parse(send("admin", list)->json)["kind"], "Table");
  list.as_table = false;
  EXPECT_EQ(send("admin", list)->items.size(), 1);
}

TEST_F(CommandsTest, DriversAreCalledThroughTheirNode) {
  auto node = network.connect("node-n1", bus::permissions_for("node-n1"));
  std::string asked, answer = R"({"response":{"volume":{"volume_id":"v"}}})";
  auto serving = node->subscribe("gantry.node.n1.down.csi", "", [&](const bus::Message& m) {
    asked = m.data;
    EXPECT_TRUE(node->publish(m.reply, answer).ok());
  });
  const bus::Command call{
      .verb = bus::Verb::Create, .resource = "nodes", .subresource = "csi", .name = "n1", .json = R"({"method":"x"})"};
  EXPECT_EQ(send("controllers", call)->json, R"({"volume":{"volume_id":"v"}})");
  EXPECT_EQ(asked, call.json);
  answer = fmt::format(R"({{"code":{},"error":"no room"}})", static_cast<int>(Code::kTooManyRequests));
  const auto full = send("controllers", call);
  EXPECT_EQ(full.code(), Code::kTooManyRequests);
  EXPECT_EQ(full.error().message, "no room");
  EXPECT_EQ(send("admin", call).code(), Code::kForbidden);
  EXPECT_EQ(send("node-n1", call).code(), Code::kForbidden);
}

// Of JetStream only what is asked of it here: STREAM.INFO, a consumer, its messages with their places.
TEST_F(CommandsTest, HistoryComesInPagesToThoseWhoMayRead) {
  const auto event = [](const char* name) {
    flatbuffers::FlatBufferBuilder b;
    const auto resource = b.CreateString("configmaps"), n = b.CreateString(name);
    bus::EventBuilder e(b);
    e.add_resource(resource), e.add_name(n), e.add_revision(7);
    b.Finish(e.Finish());
    return std::string(reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize());
  };
  auto js = network.connect("js");
  std::vector<Json> made;
  const auto info = js->subscribe("$JS.API.STREAM.INFO.S", "", [&](const bus::Message& m) {
    (void)js->publish(m.reply, R"({"state":{"messages":9,"first_ts":"2026-01-02T03:04:05.6Z"}})");
  });
  const auto create = js->subscribe("$JS.API.CONSUMER.CREATE.S", "", [&](const bus::Message& m) {
    made.push_back(Json::parse(m.data)["config"]);
    (void)js->publish(m.reply, R"({"name":"c1","num_pending":3})");
  });
  const auto next = js->subscribe("$JS.API.CONSUMER.MSG.NEXT.S.c1", "", [&](const bus::Message& m) {
    const uint64_t first = made.back().value("opt_start_seq", 1);
    const int batch = Json::parse(m.data)["batch"];
    for (uint64_t i = first; i < first + batch && i <= 3; ++i) {
      (void)js->publish(m.reply, event("a"), fmt::format("$JS.ACK.S.c1.1.{}.{}.1.{}", i, i, 3 - i));
    }
  });
  bus::Command command{
      .verb = bus::Verb::Get, .resource = "configmaps", .subresource = "history", .ns = "default", .name = "a.b"};
  command.limit = 2;
  const auto page = send("admin", command);
  ASSERT_TRUE(page.ok()) << page.error().message;
  EXPECT_EQ(page->events.size(), 2u);
  EXPECT_EQ(page->continue_token, "3");
  EXPECT_EQ(Json::parse(page->json)["since"], 1767323045600000);
  EXPECT_EQ(made.back()["filter_subject"], "gantry.events.configmaps.*.default.a%2Eb");
  command.continue_token = page->continue_token;
  const auto rest = send("admin", command);
  ASSERT_TRUE(rest.ok()) << rest.error().message;
  EXPECT_EQ(rest->events.size(), 1u);
  EXPECT_EQ(rest->continue_token, "");

  EXPECT_EQ(send("node-n1", command).code(), Code::kForbidden);
  command.resource = "flurbs";
  EXPECT_EQ(send("admin", command).code(), Code::kNotFound);
}

TEST_F(CommandsTest, WithoutJetStreamThereIsNoHistory) {
  const auto none = send(
      "admin", {.verb = bus::Verb::Get, .resource = "pods", .subresource = "history", .ns = "default", .name = "a"});
  EXPECT_EQ(none.code(), Code::kUnavailable);
  EXPECT_THAT(none.error().message, HasSubstr("the event history cannot be read"));
}

// A controller waits until its view covers what its commands returned; its view of nothing is at 0.
TEST_F(CommandsTest, WhatNeverWasIsAtZeroOnTheBus) {
  for (const auto verb : {bus::Verb::List, bus::Verb::DeleteCollection, bus::Verb::Snapshot, bus::Verb::Replay}) {
    const auto none = send("controllers", {.verb = verb, .resource = "ingresses", .ns = "default"});
    ASSERT_TRUE(none.ok()) << none.error().message;
    EXPECT_EQ(none->revision, 0u);
  }
}

TEST_F(CommandsTest, ErrorsTravelWhole) {
  const auto bad = send("admin", {.verb = bus::Verb::Create,
                                  .resource = "pods",
                                  .ns = "default",
                                  .json = R"({"metadata":{"name":"web"},"spec":{}})"});
  ASSERT_EQ(bad.code(), Code::kInvalid);
  EXPECT_EQ(bad.error().message, "Pod \"web\" is invalid: spec.containers: Required value");
  ASSERT_EQ(bad.error().causes.size(), 1);
  EXPECT_EQ(bad.error().causes[0].field, "spec.containers");
}

TEST_F(CommandsTest, AFeedFollowsItsNodeThroughEverything) {
  Relay relay(g.loop, g.store, *gateway, {.holder = "a"});
  auto connection = network.connect("node-n1", bus::permissions_for("node-n1"));
  auto client = bus::make_command_client(g.loop, *connection, "node-n1");
  std::vector<std::string> told;
  auto feed = bus::make_feed(
      g.loop, *connection, *client, {.resource = "pods", .node = "n1"},
      {.reset = [&](uint64_t, const auto& items) { told.push_back(fmt::format("reset {}", items.size())); },
       .event =
           [&](const bus::Event& e) {
             told.push_back(fmt::format("{} {}", e.type() == bus::EventType::Put ? "put" : "delete", e.name()->str()));
           }});
  g.loop.run_until([&] { return feed->synced(); }, std::chrono::seconds(10));
  for (const char* name : {"a", "b", "c"}) ASSERT_TRUE(g.create("pods", "default", TestGateway::pod(name)).ok());
  ASSERT_TRUE(g.bind("default", "a", "n1").ok());
  ASSERT_TRUE(g.bind("default", "b", "n2").ok());
  g.loop.drain();
  EXPECT_THAT(told, ElementsAre("reset 0", "put a"));
  // The tail is lost: the head tells.
  network.set_faults(
      {.drop = 1, .only = [](std::string_view subject) { return subject.starts_with("gantry.events."); }});
  ASSERT_TRUE(g.bind("default", "c", "n1").ok());
  g.loop.drain();
  network.set_faults({});
  g.loop.advance(std::chrono::seconds(3));
  EXPECT_THAT(told, ElementsAre("reset 0", "put a", "put c"));
  EXPECT_EQ(feed->counters().snapshots, 1);
  EXPECT_TRUE(connection->violations().empty());
}

}  // namespace
}  // namespace gantry::apigw::testing
