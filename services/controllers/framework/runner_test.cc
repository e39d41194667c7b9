#include "services/controllers/framework/runner.h"

#include <gtest/gtest.h>

#include "libs/model/schema.h"
#include "services/controllers/framework/commands.h"
#include "services/controllers/framework/testing/harness.h"

namespace gantry::controllers {
namespace {

using namespace std::chrono_literals;

/// Wants as many ConfigMaps named <key>-N as the Namespace's label "want" says: creates one too few at a time from what
/// it sees.
class Maker final : public Controller {
 public:
  std::string_view name() const override { return "maker"; }
  void setup(View& view) override { view.need("namespaces"), view.need("configmaps"); }
  std::vector<std::string> watches() const override { return {"namespaces", "configmaps"}; }
  void keys_for(const View&, std::string_view resource, const projection::Change& change,
                std::vector<std::string>& keys) const override {
    const model::Object& o = change.after ? change.after : change.before;
    keys.emplace_back(resource == "namespaces" ? o.name() : o.ns());
  }
  Decision decide(const View& view, const std::string& key, WallMicros, const Memory& memory) const override {
    ++decisions;
    last_failures = memory.failures;
    Decision decision;
    if (view.find("namespaces", key) == nullptr) return decision;
    size_t seen = 0;
    view.cache("configmaps").for_each_in(key, [&](const model::Object&) { ++seen; });
    for (size_t i = seen; i < want; ++i) {
      bus::Command command = create(*model::Schema::get().by_resource("configmaps"), key, {});
      command.json = fmt::format(
          R"({{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"generateName":"m-","namespace":"{}"}}}})", key);
      decision.add(std::move(command));
    }
    return decision;
  }
  size_t want = 3;
  mutable size_t decisions = 0;
  mutable uint32_t last_failures = 0;
};

struct RunnerTest : ::testing::Test {
  void SetUp() override {
    auto controller = std::make_unique<Maker>();
    maker = controller.get();
    harness.start(std::move(controller));
    harness.cluster.add(R"({"apiVersion":"v1","kind":"Namespace","metadata":{"name":"a"}})");
  }
  size_t made() { return harness.cluster.count("configmaps"); }
  testing::Harness harness;
  Maker* maker = nullptr;
};

TEST_F(RunnerTest, DecidesNothingBeforeItLeads) {
  harness.loop.advance(10s);
  EXPECT_EQ(maker->decisions, 0u);
  harness.run();
  EXPECT_TRUE(harness.runner().leading());
  EXPECT_EQ(made(), 3u);
}

TEST_F(RunnerTest, NeverDecidesOnAViewThatMissesItsOwnCommits) {
  harness.cluster.hold_events = true;
  harness.run(5s);  // commands are answered, the view is behind: any decision now would create again
  EXPECT_EQ(made(), 3u);
  size_t before = maker->decisions;
  harness.pass(60s);
  EXPECT_EQ(maker->decisions, before);
  harness.cluster.release_events();
  harness.pass(1s);
  EXPECT_GT(maker->decisions, before);
  EXPECT_EQ(made(), 3u);
}

TEST_F(RunnerTest, ChangesWhileItWaitsAreDecidedAfterwards) {
  harness.cluster.hold_events = true;
  harness.run(1s);
  maker->want = 5;
  harness.runner().enqueue("a");
  harness.pass(1s);
  EXPECT_EQ(made(), 3u);
  harness.cluster.release_events();
  harness.pass(1s);
  EXPECT_EQ(made(), 5u);
}

TEST_F(RunnerTest, CommandsSayWhatWokeTheirKey) {
  harness.run();
  const auto cause = [&] { return harness.cluster.log.back().because; };
  EXPECT_EQ(cause(), fmt::format("namespaces/a@{}", harness.cluster.head("namespaces")));
  // What its own commands made is no cause: it goes on with what it began.
  maker->want = 4;
  harness.runner().enqueue("a");
  harness.pass(1s);
  EXPECT_EQ(made(), 4u);
  // A deletion has a revision of its own.
  const std::string gone = harness.cluster.keys("configmaps").front();
  harness.cluster.erase("configmaps", gone);
  const uint64_t deleted = harness.cluster.head("configmaps");
  harness.pass(1s);
  EXPECT_EQ(made(), 4u);
  EXPECT_EQ(cause(), fmt::format("configmaps/{}@{}", gone, deleted));
}

TEST_F(RunnerTest, ALostAnswerIsSentAgainWithItsIdAndDoneOnce) {
  int lost = 0;
  harness.cluster.lose_answer = [&](const bus::Command& c) { return c.verb == bus::Verb::Create && ++lost <= 4; };
  harness.run(30s);
  EXPECT_EQ(made(), 3u);
  EXPECT_EQ(harness.runner().counters().resends, 4u);
  EXPECT_EQ(harness.runner().in_flight(), 0u);
}

TEST_F(RunnerTest, ARefusalAfterAnUnknownOutcomeMakesNothingTwice) {
  int creates = 0;
  harness.cluster.lose_answer = [&](const bus::Command& c) { return c.verb == bus::Verb::Create && creates <= 3; };
  harness.cluster.before = [&](const bus::Command& c) -> std::optional<Error> {
    // The first three are carried out; when they are sent again the store is away for a while.
    if (c.verb != bus::Verb::Create || ++creates <= 3 || creates > 9) return std::nullopt;
    return Error{.code = Code::kUnavailable, .message = "state: no connection"};
  };
  harness.cluster.hold_events = true;
  harness.run(20s);
  harness.cluster.release_events();
  harness.pass(20s);
  EXPECT_EQ(made(), 3u);
  EXPECT_EQ(harness.runner().in_flight(), 0u);
}

TEST_F(RunnerTest, FailuresBackOffAndTheKeyRecovers) {
  bool broken = true;
  harness.cluster.before = [&](const bus::Command& c) -> std::optional<Error> {
    if (broken && c.verb == bus::Verb::Create) return Error{.code = Code::kUnavailable, .message = "no"};
    return std::nullopt;
  };
  harness.run(60s);
  EXPECT_LT(maker->decisions, 20u);  // 10 ms doubling
  EXPECT_GT(maker->last_failures, 5u);
  broken = false;
  harness.pass(120s);
  EXPECT_EQ(made(), 3u);
  harness.runner().enqueue("a");
  harness.pass(1s);
  EXPECT_EQ(maker->last_failures, 0u);
}

TEST_F(RunnerTest, ANewLeaderCatchesUpFirst) {
  harness.run();
  ASSERT_EQ(made(), 3u);
  harness.runner().resign();
  harness.cluster.hold_events = true;
  for (int i = 0; i < 2; ++i) {  // another leader's work, which this view has not seen
    harness.cluster.add(
        fmt::format(R"({{"apiVersion":"v1","kind":"ConfigMap","metadata":{{"name":"other{}","namespace":"a"}}}})", i));
  }
  maker->want = 5;
  harness.runner().lead("controllers-maker", 2);
  harness.pass(10s);
  EXPECT_FALSE(harness.runner().leading());
  harness.cluster.release_events();
  harness.pass(1s);
  EXPECT_TRUE(harness.runner().leading());
  EXPECT_EQ(made(), 5u);
}

TEST_F(RunnerTest, AFencedLeaderStops) {
  bool told = false;
  harness.runner().on_deposed([&] { told = true; });
  harness.cluster.fenced["controllers-maker"] = 2;  // somebody else has epoch 2
  harness.run(10s);
  EXPECT_EQ(made(), 0u);
  EXPECT_TRUE(told);
  EXPECT_FALSE(harness.runner().leading());
  harness.pass(60s);
  EXPECT_EQ(harness.cluster.log.size(), 0u);
}

TEST_F(RunnerTest, AnswersOfAnEarlierTermAreIgnored) {
  harness.cluster.latency = 5s;
  harness.run(6s);  // heads are read
  harness.pass(100ms);
  EXPECT_EQ(harness.runner().in_flight(), 3u);
  harness.runner().resign();
  EXPECT_EQ(harness.runner().in_flight(), 0u);
  harness.pass(20s);
  EXPECT_EQ(harness.runner().in_flight(), 0u);
  harness.cluster.latency = 0s;
  harness.runner().lead("controllers-maker", 2);
  harness.pass(1s);
  EXPECT_EQ(made(), 3u);
}

TEST_F(RunnerTest, CommandsInFlightAreBounded) {
  testing::Harness small;
  auto controller = std::make_unique<Maker>();
  controller->want = 1;
  Runner::Options options;
  options.max_in_flight = 2;
  small.start(std::move(controller), options);
  for (int i = 0; i < 10; ++i) {
    small.cluster.add(fmt::format(R"({{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"n{}"}}}})", i));
  }
  small.cluster.latency = 1s;
  small.run(1500ms);
  EXPECT_EQ(small.runner().in_flight(), 2u);
  small.pass(10s);
  EXPECT_EQ(small.cluster.count("configmaps"), 10u);
}

}  // namespace
}  // namespace gantry::controllers
