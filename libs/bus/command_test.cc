#include "libs/bus/command.h"

#include <gtest/gtest.h>

#include "libs/base/testing/manual_loop.h"
#include "libs/bus/testing/fake_bus.h"
#include "schemas/bus_generated.h"

namespace gantry::bus {
namespace {

using gantry::testing::FakeNetwork;
using gantry::testing::ManualLoop;
using std::chrono::milliseconds;
using std::chrono::seconds;

std::string event_bytes(uint64_t revision) {
  flatbuffers::FlatBufferBuilder b;
  auto resource = b.CreateString("pods");
  EventBuilder e(b);
  e.add_resource(resource);
  e.add_revision(revision);
  b.Finish(e.Finish());
  return {reinterpret_cast<const char*>(b.GetBufferPointer()), b.GetSize()};
}

TEST(CommandCodec, EveryFieldTravels) {
  Command c;
  c.id = "id", c.verb = Verb::Patch, c.resource = "pods", c.subresource = "status", c.ns = "ns", c.name = "n";
  c.object = std::string("\0\1", 2), c.json = "{}", c.patch_type = PatchType::Strategic, c.uid = "u",
  c.revision = 1ull << 52;
  c.absent_owner_uid = "o", c.lease = "l", c.lease_epoch = 7, c.sequence_epoch = 8, c.sequence_number = 9;
  c.grace_period_seconds = 0, c.propagation = "Foreground", c.dry_run = true, c.field_manager = "m",
  c.field_validation = "Strict";
  c.force = true, c.node = "node", c.label_selector = "a=b", c.field_selector = "c=d", c.limit = 5,
  c.continue_token = "t";
  c.as_json = true, c.as_table = true, c.because = "deployments/ns/d@4";
  Command empty;
  auto batch = decode_command_batch(encode_batch({&c, &empty}, 1234));
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->deadline_millis, 1234u);
  ASSERT_EQ(batch->commands.size(), 2u);
  const auto& d = batch->commands[0];
  EXPECT_EQ(std::tie(d.id, d.verb, d.resource, d.subresource, d.ns, d.name, d.object, d.json, d.patch_type, d.uid,
                     d.revision),
            std::tie(c.id, c.verb, c.resource, c.subresource, c.ns, c.name, c.object, c.json, c.patch_type, c.uid,
                     c.revision));
  EXPECT_EQ(std::tie(d.absent_owner_uid, d.lease, d.lease_epoch, d.sequence_epoch, d.sequence_number,
                     d.grace_period_seconds, d.propagation),
            std::tie(c.absent_owner_uid, c.lease, c.lease_epoch, c.sequence_epoch, c.sequence_number,
                     c.grace_period_seconds, c.propagation));
  EXPECT_EQ(std::tie(d.dry_run, d.field_manager, d.field_validation, d.force, d.node, d.label_selector,
                     d.field_selector, d.limit),
            std::tie(c.dry_run, c.field_manager, c.field_validation, c.force, c.node, c.label_selector,
                     c.field_selector, c.limit));
  EXPECT_EQ(std::tie(d.continue_token, d.as_json, d.as_table, d.because),
            std::tie(c.continue_token, c.as_json, c.as_table, c.because));
  EXPECT_EQ(batch->commands[1].grace_period_seconds, std::nullopt);
}

TEST(CommandCodec, EveryOutcomeTravels) {
  CommandOutcome o;
  o.revision = 5, o.uid = "u", o.object = "obj", o.json = "{}", o.items = {{3, "a"}, {4, ""}}, o.continue_token = "t";
  o.events = {event_bytes(4)}, o.head = 9, o.warnings = {"w"}, o.duplicate = true;
  Error e{Code::kConflict, "m", {{"r", "cm", "f"}}, "g", "k", "n", "u", 77, 3};
  auto reply = decode_reply(encode_reply({{"1", o}, {"2", e}}));
  ASSERT_TRUE(reply);
  auto& [id, first] = (*reply)[0];
  EXPECT_EQ(id, "1");
  EXPECT_EQ(first->items.size(), 2u);
  EXPECT_EQ(first->items[0].object, "a");
  EXPECT_EQ(first->events, o.events);
  EXPECT_EQ(std::tie(first->revision, first->uid, first->object, first->json, first->continue_token, first->head,
                     first->warnings, first->duplicate),
            std::tie(o.revision, o.uid, o.object, o.json, o.continue_token, o.head, o.warnings, o.duplicate));
  auto& f = (*reply)[1].second.error();
  EXPECT_EQ(std::tie(f.code, f.message, f.group, f.kind, f.name, f.uid, f.current_revision, f.retry_after_seconds),
            std::tie(e.code, e.message, e.group, e.kind, e.name, e.uid, e.current_revision, e.retry_after_seconds));
  ASSERT_EQ(f.causes.size(), 1u);
  EXPECT_EQ(f.causes[0].field, "f");
}

TEST(CommandCodec, GarbageIsRefusedNeverRead) {
  std::mt19937 random(11);
  Command c;
  c.id = "id", c.name = "name", c.lease = "x";
  auto batch = encode_batch({&c, &c}, 1);
  CommandOutcome o;
  o.events = {event_bytes(1)}, o.items = {{1, "x"}};
  auto reply = encode_reply({{"1", o}});
  for (int i = 0; i < 20'000; ++i) {
    auto broken = i % 2 == 0 ? batch : reply;
    for (size_t n = 1 + random() % 4; n > 0; --n) broken[random() % broken.size()] = static_cast<char>(random());
    if (random() % 4 == 0) broken.resize(random() % broken.size());
    (void)decode_batch(broken);
    (void)decode_reply(broken);
  }
  EXPECT_FALSE(decode_batch(""));
  EXPECT_FALSE(decode_reply("abc"));
}

struct CommandsTest : ::testing::Test {
  ManualLoop loop;
  FakeNetwork network{loop};
  std::unique_ptr<gantry::testing::FakeBus> apigw = network.connect("apigw", apigw_permissions());
  std::unique_ptr<gantry::testing::FakeBus> bus = network.connect("controllers", controllers_permissions());
  std::unique_ptr<Commands> client = make_command_client(loop, *bus, "controllers");
  std::unique_ptr<CommandServer> server;
  std::map<std::string, int> handled;  // by command id
  std::vector<std::pair<Command, Respond>> held;
  bool hold = false;

  void serve(size_t limit = 10'000) {
    server = make_command_server(
        loop, *apigw,
        [this](const std::string& identity, const Command& c, Respond respond) {
          EXPECT_EQ(identity, "controllers");
          int n = ++handled[c.id];
          if (hold) {
            held.emplace_back(c, std::move(respond));
            return;
          }
          CommandOutcome outcome;
          outcome.uid = c.name;
          outcome.duplicate = n > 1;
          respond(outcome);
        },
        limit);
  }
  Command create(std::string name) {
    Command c;
    c.verb = Verb::Create, c.resource = "pods", c.ns = "default", c.name = std::move(name);
    return c;
  }
};

TEST_F(CommandsTest, OneTurnIsOneBatchAndAnswersFindTheirCallers) {
  serve();
  std::vector<std::string> answers;
  auto before = network.counters().published;
  for (int i = 0; i < 100; ++i) {
    client->send(create(std::to_string(i)), [&, i](Result<CommandOutcome> r) {
      ASSERT_TRUE(r);
      EXPECT_EQ(r->uid, std::to_string(i));
      answers.push_back(r->uid);
    });
  }
  EXPECT_TRUE(answers.empty());
  loop.drain();
  EXPECT_EQ(answers.size(), 100u);
  EXPECT_EQ(network.counters().published - before, 2u);  // one request, one reply
}

TEST_F(CommandsTest, ALostAnswerIsAskedForAgainWithTheSameId) {
  serve();
  network.set_faults({.drop = 1, .only = [](std::string_view s) { return s.starts_with("_INBOX."); }});
  std::optional<Result<CommandOutcome>> answer;
  client->send(create("a"), seconds(10), [&](Result<CommandOutcome> r) { answer = r; });
  loop.advance(seconds(1));
  EXPECT_FALSE(answer);
  network.set_faults({});
  loop.advance(seconds(3));
  ASSERT_TRUE(answer && answer->ok());
  EXPECT_TRUE((*answer)->duplicate);
  EXPECT_EQ(handled.size(), 1u);
}

TEST_F(CommandsTest, ARefusalOfARepeatSaysNothingAboutTheFirstAttempt) {
  bool store_away = false;
  server = make_command_server(loop, *apigw, [&](const std::string&, const Command& c, Respond respond) {
    if (store_away) return respond(Error{Code::kUnavailable, "state: no connection"});
    CommandOutcome outcome;
    outcome.duplicate = ++handled[c.id] > 1;
    respond(outcome);
  });
  network.set_faults({.drop = 1, .only = [](std::string_view s) { return s.starts_with("_INBOX."); }});
  std::optional<Result<CommandOutcome>> lost, known;
  client->send(create("a"), seconds(8), [&](Result<CommandOutcome> r) { lost = r; });
  loop.advance(seconds(1));  // carried out, and the answer is lost
  network.set_faults({});
  store_away = true;
  client->send(create("b"), seconds(8), [&](Result<CommandOutcome> r) { known = r; });
  loop.advance(seconds(5));
  EXPECT_FALSE(lost.has_value());
  ASSERT_TRUE(known.has_value());
  EXPECT_EQ(known->code(), Code::kUnavailable) << "this one was tried once and refused";
  loop.advance(seconds(3));
  ASSERT_TRUE(lost.has_value());
  EXPECT_EQ(lost->code(), Code::kUnknownOutcome);
  EXPECT_EQ(handled.size(), 1u);
}

TEST_F(CommandsTest, WithoutAnAnswerTheOutcomeIsUnknownAReadTimesOut) {
  serve();
  hold = true;
  std::map<std::string, Code> codes;
  client->send(create("a"), seconds(2), [&](Result<CommandOutcome> r) { codes["create"] = r.code(); });
  Command get = create("a");
  get.verb = Verb::Get;
  client->send(get, seconds(2), [&](Result<CommandOutcome> r) { codes["get"] = r.code(); });
  loop.advance(milliseconds(1999));
  EXPECT_TRUE(codes.empty());
  loop.advance(milliseconds(2));
  EXPECT_EQ(codes, (std::map<std::string, Code>{{"create", Code::kUnknownOutcome}, {"get", Code::kTimeout}}));
  EXPECT_EQ(handled.size(), 2u);
  for (auto& [id, times] : handled) EXPECT_EQ(times, 1);  // repeats waited for the first
  EXPECT_GT(server->counters().repeats, 0u);
}

TEST_F(CommandsTest, WithoutAGatewayUnavailableWithOneSoonDone) {
  Code code = Code::kOk;
  client->send(create("a"), seconds(2), [&](Result<CommandOutcome> r) { code = r.code(); });
  loop.advance(seconds(3));
  EXPECT_EQ(code, Code::kUnavailable);
  client->send(create("b"), seconds(5), [&](Result<CommandOutcome> r) { code = r.code(); });
  loop.advance(seconds(1));
  serve();
  loop.advance(seconds(1));
  EXPECT_EQ(code, Code::kOk);
}

TEST_F(CommandsTest, AReconnectSendsAgainAtOnce) {
  serve();
  hold = true;
  int done = 0;
  client->send(create("a"), seconds(100), [&](Result<CommandOutcome> r) { done += r.ok(); });
  loop.advance(milliseconds(10));
  ASSERT_EQ(held.size(), 1u);
  bus->set_connected(false);
  held[0].second(CommandOutcome{});  // into the void
  loop.drain();
  hold = false;
  bus->set_connected(true);
  loop.advance(milliseconds(10));
  EXPECT_EQ(done, 1);
}

TEST_F(CommandsTest, ABusyGatewaySheds) {
  serve(2);
  hold = true;
  std::vector<Code> codes;
  for (int i = 0; i < 3; ++i)
    client->send(create(std::to_string(i)), [&](Result<CommandOutcome> r) { codes.push_back(r.code()); });
  loop.drain();
  EXPECT_EQ(server->in_flight(), 2u);
  bool drained = false;
  server->drain([&] { drained = true; });
  loop.drain();
  EXPECT_FALSE(drained);
  for (auto& [command, respond] : held) respond(CommandOutcome{});
  loop.drain();
  EXPECT_TRUE(drained);
  EXPECT_EQ(codes, (std::vector{Code::kOk, Code::kOk, Code::kTooManyRequests}));
}

TEST_F(CommandsTest, ForeignRepliesWrongVerbsAndGarbageAreRefused) {
  serve();
  int foreign = 0;
  auto listener = apigw->subscribe("gantry.events.>", "", [&](const Message&) { ++foreign; });
  auto c = create("a");
  c.id = "x";
  auto bytes = encode_batch({&c}, 0);
  for (const char* reply :
       {"gantry.events.pods._.default.a", "_INBOX.node-n1.1.1", "_INBOX.controllersX.1", "", "_INBOX.controllers.>"}) {
    ASSERT_TRUE(bus->publish("gantry.cmd.controllers.create", bytes, reply));
  }
  loop.drain();
  EXPECT_EQ(server->counters().foreign_replies, 5u);
  EXPECT_EQ(foreign, 0);
  EXPECT_TRUE(handled.empty());
  std::vector<Code> codes;
  auto code = [&](Result<std::string> r) { codes.push_back((*decode_reply(*r))[0].second.code()); };
  bus->request("gantry.cmd.controllers.get", bytes, seconds(1), code);
  bus->request("gantry.cmd.controllers.get", "garbage", seconds(1), code);
  loop.drain();
  EXPECT_EQ(codes, (std::vector{Code::kForbidden, Code::kBadRequest}));
}

TEST_F(CommandsTest, AnswersBeyondTheLimitComeInPartsOrNotAtAll) {
  apigw->set_max_payload(10'000);
  std::map<std::string, Code> codes;
  server = make_command_server(loop, *apigw, [](const std::string&, const Command& c, Respond respond) {
    CommandOutcome o;
    o.json = std::string(c.name == "huge" ? 20'000 : 3'000, 'x');
    respond(o);
  });
  for (std::string name : {"1", "2", "3", "4", "5", "huge"}) {
    auto c = create(name);
    c.verb = Verb::Get;
    client->send(c, [&, name](Result<CommandOutcome> r) { codes[name] = r.code(); });
  }
  loop.advance(seconds(9));
  EXPECT_EQ(codes, (std::map<std::string, Code>{{"1", Code::kOk},
                                                {"2", Code::kOk},
                                                {"3", Code::kOk},
                                                {"4", Code::kOk},
                                                {"5", Code::kOk},
                                                {"huge", Code::kTooLarge}}));
}

TEST_F(CommandsTest, TheClientMayDieInItsCallback) {
  serve();
  for (int i = 0; i < 3; ++i) client->send(create(std::to_string(i)), [&](Result<CommandOutcome>) { client.reset(); });
  loop.advance(seconds(20));
  EXPECT_EQ(client, nullptr);
}

// Whatever is lost or doubled, each command is answered, and handled as often as ids differ when the handler remembers
// ids.
TEST_F(CommandsTest, EveryCommandEndsUnderFaults) {
  serve();
  network.set_faults({.drop = 0.2, .duplicate = 0.2, .max_delay = milliseconds(300)});
  int answered = 0, good = 0;
  for (int i = 0; i < 300; ++i) {
    client->send(create(std::to_string(i)), seconds(60), [&](Result<CommandOutcome> r) { ++answered, good += r.ok(); });
    loop.advance(milliseconds(3));
  }
  loop.advance(seconds(90));
  EXPECT_EQ(answered, 300);
  EXPECT_GT(good, 280);
  EXPECT_LE(handled.size(), 300u);
}

}  // namespace
}  // namespace gantry::bus
